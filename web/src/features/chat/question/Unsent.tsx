import type { Outgoing } from "~/core/types";
import { actions } from "~/hooks";
import { Button } from "~/ui/Button";
import { join } from "~/ui/join";
import { Spinner } from "~/ui/Spinner";
import styles from "./Question.module.css";

interface UnsentProps {
  outgoing: Outgoing;
  /** Takes the text back into the composer. */
  onTakeBack: (text: string) => void;
}

/** A question on its way: nothing is lost while it cannot be delivered. */
export function Unsent({ outgoing, onTakeBack }: UnsentProps) {
  const { key, state, problem, content } = outgoing;
  const held = state !== "sending";
  return (
    <article className={styles.question} aria-label="You, not sent yet">
      <div className={join(styles.bubble, held && styles.unsent)}>{content}</div>
      {held && (
        <div className={styles.state} role="alert">
          {state === "waiting" ? (
            <>
              <Spinner />
              <span>{problem ?? "Not sent yet."} It is sent as soon as that works.</span>
            </>
          ) : (
            <span className={styles.failed}>Not sent. {problem}</span>
          )}
          <Button tone="quiet" icon="retry" onClick={() => actions.resend(key)}>
            {state === "waiting" ? "Try now" : "Try again"}
          </Button>
          <Button tone="quiet" icon="pencil" onClick={() => onTakeBack(actions.takeBack(key))}>
            Edit
          </Button>
        </div>
      )}
    </article>
  );
}
