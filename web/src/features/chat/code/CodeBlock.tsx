import { memo, useMemo } from "react";
import { CopyButton } from "~/ui/CopyButton";
import styles from "./CodeBlock.module.css";
import type { Line } from "./colours";
import { type Colours, useColours } from "./useColours";

const CHUNK_LINES = 40;

interface CodeBlockProps {
  code: string;
  language: string;
  /** More may follow. */
  open?: boolean;
}

/** Code with its language, a button to copy it and, as soon as they are known, its colours. */
export const CodeBlock = memo(function CodeBlock({ code, language, open = false }: CodeBlockProps) {
  const lines = useMemo(() => code.replace(/\n$/, "").split("\n"), [code]);
  const colours = useColours(lines, language, open);
  const chunks = Array.from({ length: Math.ceil(lines.length / CHUNK_LINES) }, (_, n) => n);
  return (
    <figure dir="ltr" className={styles.block} aria-label={language ? `Code, ${language}` : "Code"}>
      <figcaption className={styles.head}>
        <span className={styles.language}>{language || "text"}</span>
        <CopyButton label="Copy code" text={() => code} words />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines are scrolled with the keys */}
      <pre className={styles.code} tabIndex={0}>
        <code>
          {chunks.map((n) => (
            <span key={n} className={styles.chunk}>
              <Chunk {...chunk(lines, colours, n * CHUNK_LINES)} />
            </span>
          ))}
        </code>
      </pre>
    </figure>
  );
});

interface ChunkProps {
  text: string;
  coloured: readonly (Line | undefined)[];
}

function chunk(lines: readonly string[], colours: Colours, from: number): ChunkProps {
  const some = lines.slice(from, from + CHUNK_LINES);
  const more = from + CHUNK_LINES < lines.length ? "\n" : "";
  return { text: some.join("\n") + more, coloured: some.map((_, n) => colours.get(from + n)) };
}

function same(a: ChunkProps, b: ChunkProps): boolean {
  return a.text === b.text && a.coloured.every((line, n) => line === b.coloured[n]);
}

const Chunk = memo(function Chunk({ text, coloured }: ChunkProps) {
  if (!coloured.some(Boolean)) return text;
  const lines = text.split("\n");
  return lines.map((line, n) => {
    const end = n < lines.length - 1 ? "\n" : "";
    // biome-ignore lint/suspicious/noArrayIndexKey: a line is known by its place
    return <Row key={n} line={coloured[n]} text={line} end={end} />;
  });
}, same);

const Row = memo(function Row(props: { line: Line | undefined; text: string; end: string }) {
  const { line, text, end } = props;
  if (!line) return text + end;
  return (
    <>
      {line.map(([piece, kind], n) =>
        kind === "plain" ? (
          piece
        ) : (
          // biome-ignore lint/suspicious/noArrayIndexKey: a piece is known by its place
          <span key={n} className={styles[kind]}>
            {piece}
          </span>
        ),
      )}
      {end}
    </>
  );
});
