import type { MadeToken } from "~/core/api.gen";
import { Button } from "~/ui/Button";
import { CopyButton } from "~/ui/CopyButton";
import styles from "./Tokens.module.css";

/** A new token's secret, which nobody can show again. */
export function Secret({ token, secret, onDone }: MadeToken & { onDone: () => void }) {
  return (
    <section className={styles.secret} aria-label={`The token ${token.name}`}>
      <p role="status">
        Copy the token <strong>{token.name}</strong> now: it is shown only this once.
      </p>
      <div className={styles.line}>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it is longer than a phone, and scrolls */}
        <code tabIndex={0} className={styles.code}>
          {secret}
        </code>
        <CopyButton label="Copy token" text={() => secret} words />
      </div>
      <Button onClick={onDone}>I have it</Button>
    </section>
  );
}
