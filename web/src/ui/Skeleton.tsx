import styles from "./Skeleton.module.css";

const WIDTHS = ["92%", "97%", "85%", "60%", "94%", "72%"];

/** Grey lines where text will be. */
export function Skeleton({ lines = 4, label }: { lines?: number; label: string }) {
  return (
    <div role="status" aria-label={label} className={styles.skeleton}>
      {WIDTHS.slice(0, lines).map((width) => (
        <span key={width} className={styles.line} style={{ width }} />
      ))}
    </div>
  );
}
