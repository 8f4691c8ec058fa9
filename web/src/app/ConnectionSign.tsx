import { useConnection } from "~/hooks";
import { join } from "~/ui/join";
import styles from "./ConnectionSign.module.css";

const WORDS = { offline: "You are offline", reconnecting: "Reconnecting…" } as const;

/** Says when the server cannot be heard, over everything and out of the way. */
export function ConnectionSign() {
  const connection = useConnection();
  const words = connection === "offline" || connection === "reconnecting" ? WORDS[connection] : "";
  return (
    <p role="status" className={join(styles.sign, words && styles.shown)}>
      {words && <span className={styles.light} aria-hidden="true" />}
      {words}
    </p>
  );
}
