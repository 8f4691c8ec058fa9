import { useState } from "react";
import { problemText } from "~/core/api";
import type { Token } from "~/core/api.gen";
import { at } from "~/core/root";
import { Button } from "~/ui/Button";
import { Dialog } from "~/ui/Dialog";
import { Skeleton } from "~/ui/Skeleton";
import { useMake, useRevoke, useTokens } from "./keeping";
import { Making } from "./Making";
import { Secret } from "./Secret";
import styles from "./Tokens.module.css";
import { facts } from "./words";

/** One's own tokens: what lets programs in in one's name. */
export default function TokensDialog({ onClose }: { onClose: () => void }) {
  const { tokens, problem } = useTokens();
  const make = useMake();
  const revoke = useRevoke();
  const trouble = problem ?? make.error ?? revoke.error;
  return (
    <Dialog open title="API tokens" onClose={onClose}>
      <p className={styles.about}>
        With a token a program asks in your name, and sees your chats. It sends{" "}
        <code>Authorization: Bearer …</code>; see the{" "}
        <a href={at("/docs")} target="_blank" rel="noopener">
          API
        </a>
        .
      </p>
      {trouble && (
        <p role="alert" className={styles.problem}>
          {problemText(trouble)}
        </p>
      )}
      {make.data ? (
        <Secret {...make.data} onDone={() => make.reset()} />
      ) : (
        <Making busy={make.isPending} onMake={make.mutate} />
      )}
      <h3 className={styles.title}>Your tokens</h3>
      {tokens === null ? (
        !problem && <Skeleton label="Loading your tokens" lines={2} />
      ) : tokens.length === 0 ? (
        <p className={styles.none}>You have none.</p>
      ) : (
        <ul className={styles.list} aria-label="Your tokens">
          {tokens.map((token) => (
            <Row key={token.id} token={token} onRevoke={() => revoke.mutate(token.id)} />
          ))}
        </ul>
      )}
    </Dialog>
  );
}

/** One token. What uses it is refused from the moment it is revoked: so one is asked twice. */
function Row({ token, onRevoke }: { token: Token; onRevoke: () => void }) {
  const [sure, ask] = useState(false);
  return (
    <li className={styles.row}>
      <div className={styles.words}>
        <strong className={styles.name}>{token.name}</strong>
        <span className={styles.facts}>{facts(token, new Date())}</span>
      </div>
      {sure ? (
        <span className={styles.ways}>
          <Button onClick={() => ask(false)}>Keep</Button>
          <Button
            autoFocus
            tone="danger"
            aria-label={`Revoke now: ${token.name}`}
            onClick={onRevoke}
          >
            Revoke now
          </Button>
        </span>
      ) : (
        <Button aria-label={`Revoke ${token.name}`} onClick={() => ask(true)}>
          Revoke
        </Button>
      )}
    </li>
  );
}
