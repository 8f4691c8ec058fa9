import { hostOf } from "../markdown/address";
import type { Source } from "./parts";
import styles from "./Sources.module.css";

/** The pages that a text cites. */
export function Sources({ sources }: { sources: readonly Source[] }) {
  if (sources.length === 0) return null;
  return (
    <ol className={styles.sources} aria-label="Sources">
      {sources.map(({ address, title }, n) => (
        <li key={address}>
          <a
            className={styles.source}
            href={address}
            target="_blank"
            rel="noopener noreferrer nofollow"
          >
            <span className={styles.number}>{n + 1}</span>
            <span className={styles.title}>{title || hostOf(address)}</span>
            {title && <span className={styles.host}>{hostOf(address)}</span>}
          </a>
        </li>
      ))}
    </ol>
  );
}
