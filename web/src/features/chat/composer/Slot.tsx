import { Button, IconButton } from "~/ui/Button";
import { StopSign } from "~/ui/icons";
import styles from "./Composer.module.css";
import type { Slot as Kind } from "./sending";

interface SlotProps {
  slot: Kind;
  enabled: boolean;
  onSend: (now: boolean) => void;
  onStop: () => void;
}

/** The one place for sending and for stopping; queueing has a way past the queue beside it,
 * and one to stop only, which screens without an Escape key need. */
export function Slot({ slot, enabled, onSend, onStop }: SlotProps) {
  return (
    <div className={styles.slot}>
      {slot === "queue" && (
        <>
          <Button
            className={styles.past}
            tone="quiet"
            disabled={!enabled}
            title="Stop the answer that runs and ask this at once (Ctrl + Enter)"
            onClick={() => onSend(true)}
          >
            Stop and send
          </Button>
          <IconButton
            className={styles.round}
            label="Stop"
            hint="Esc"
            icon={<StopSign />}
            onClick={onStop}
          />
        </>
      )}
      {slot === "stop" ? (
        <IconButton
          key="slot"
          className={styles.round}
          tone="primary"
          label="Stop"
          hint="Esc"
          icon={<StopSign />}
          onClick={onStop}
        />
      ) : (
        <IconButton
          key="slot"
          className={styles.round}
          tone="primary"
          label={slot === "queue" ? "Queue message" : "Send message"}
          icon="arrowUp"
          disabled={!enabled}
          onClick={() => onSend(false)}
        />
      )}
    </div>
  );
}
