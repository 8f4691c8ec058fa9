import styles from "./Spinner.module.css";

/** A turning ring; with `label` it speaks, without it the words beside it do. */
export function Spinner({ label }: { label?: string }) {
  return label ? (
    <span role="img" aria-label={label} className={styles.spinner} />
  ) : (
    <span aria-hidden="true" className={styles.spinner} />
  );
}
