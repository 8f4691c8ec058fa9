import { useState } from "react";
import { actions } from "~/hooks";
import { Button } from "~/ui/Button";
import { focusComposer } from "~/ui/focus";
import { Icon } from "~/ui/icons";
import { join } from "~/ui/join";
import styles from "./EndCard.module.css";
import type { Ending } from "./endings";

interface EndCardProps {
  ending: Ending;
  chatId: string;
  requestId: string;
  actable: boolean;
}

/** How an answer ended when it did not end whole: the reason and the next step. */
export function EndCard({ ending, chatId, requestId, actable }: EndCardProps) {
  const [busy, setBusy] = useState(false);
  const retry = async () => {
    setBusy(true);
    focusComposer();
    await actions.retry(requestId);
    setBusy(false);
  };
  const goOn = () => {
    actions.continueAnswer(chatId);
    focusComposer();
  };
  const icon = ending.tone === "quiet" ? "info" : "alert";
  return (
    <div className={join(styles.card, styles[ending.tone])}>
      <Icon name={icon} size={18} />
      <div className={styles.words}>
        <strong className={styles.title}>{ending.title}</strong>
        {ending.detail && <span className={styles.detail}>{ending.detail}</span>}
      </div>
      {actable && ending.next.length > 0 && (
        <div className={styles.next}>
          {ending.next.includes("continue") && (
            <Button icon="forward" onClick={goOn}>
              Continue
            </Button>
          )}
          {ending.next.includes("retry") && (
            <Button icon="retry" disabled={busy} onClick={retry}>
              Retry
            </Button>
          )}
        </div>
      )}
    </div>
  );
}
