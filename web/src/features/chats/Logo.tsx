import { useConfig } from "~/hooks";
import styles from "./Logo.module.css";

/** The product's picture: the operator's, else ours, a line that goes on. */
export function Logo({ size = 22 }: { size?: number }) {
  const given = useConfig()?.ui.logo_url;
  if (given) return <img src={given} alt="" width={size} height={size} className={styles.logo} />;
  return (
    <svg
      aria-hidden="true"
      viewBox="0 0 24 24"
      width={size}
      height={size}
      className={styles.mark}
      fill="none"
      strokeWidth="2.4"
      strokeLinecap="round"
    >
      <path d="M3 12c2.5-7 6.5-7 9 0s6.5 7 9 0" />
      <path d="M3 12c2.5 7 6.5 7 9 0" className={styles.second} />
    </svg>
  );
}
