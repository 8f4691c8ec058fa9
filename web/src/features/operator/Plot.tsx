import styles from "./Operator.module.css";

export interface Line {
  name: string;
  tone: "accent" | "danger" | "soft";
  values: number[];
}

interface PlotProps {
  title: string;
  /** What a value counts, for the sentence that stands for the picture. */
  unit: string;
  lines: Line[];
  /** What the first and the last value belong to. */
  from: string;
  to: string;
}

const WIDTH = 300;
const HEIGHT = 72;

/** A small plot: lines over time, without a library; told in words to who does not see it. */
export function Plot({ title, unit, lines, from, to }: PlotProps) {
  const top = Math.max(1, ...lines.flatMap((line) => line.values));
  return (
    <figure className={styles.plot}>
      <figcaption>
        <strong>{title}</strong>
        {lines.map((line) => (
          <span key={line.name} className={styles.key} data-tone={line.tone}>
            {line.name} {sum(line.values)}
          </span>
        ))}
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={words(lines, unit, from, to)}
      >
        <path className={styles.ground} d={`M0 ${HEIGHT - 0.5}H${WIDTH}`} />
        {lines.map((line) => (
          <path
            key={line.name}
            className={styles.line}
            data-tone={line.tone}
            d={pathOf(line.values, top)}
          />
        ))}
      </svg>
      <div className={styles.axis}>
        <span>{from}</span>
        <span>
          at most {top} {unit}
        </span>
        <span>{to}</span>
      </div>
    </figure>
  );
}

/** The path of a line through the middle of each step; `top` is at the upper edge. */
export function pathOf(values: number[], top: number): string {
  if (values.length === 0) return "";
  const step = WIDTH / Math.max(1, values.length - 1);
  const point = (value: number, at: number) =>
    `${(at * step).toFixed(1)} ${(HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1)}`;
  return `M${values.map(point).join("L")}`;
}

function words(lines: Line[], unit: string, from: string, to: string): string {
  const told = lines.map((line) => `${line.name}: ${sum(line.values)}`).join(", ");
  return `${told} ${unit}, from ${from} to ${to}`;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
