import type { ReactNode } from "react";
import styles from "./Hidden.module.css";

/** Words that only screen readers meet. */
export function Hidden({ children }: { children: ReactNode }) {
  return <span className={styles.hidden}>{children}</span>;
}
