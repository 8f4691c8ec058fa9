import { useRef, useState } from "react";
import { flushSync } from "react-dom";
import type { QueuedQuestion } from "~/core/types";
import { actions } from "~/hooks";
import { Button, IconButton } from "~/ui/Button";
import { focusComposer } from "~/ui/focus";
import { Icon } from "~/ui/icons";
import { Editor } from "../question/Editor";
import styles from "./QueueChips.module.css";

/** The questions that wait for the answer that runs, in order. */
export function QueueChips({ queued }: { queued: readonly QueuedQuestion[] }) {
  if (queued.length === 0) return null;
  return (
    <ol className={styles.queue} aria-label="Waiting questions">
      {queued.map((one) => (
        <Chip key={one.message_id} question={one} />
      ))}
    </ol>
  );
}

function Chip({ question }: { question: QueuedQuestion }) {
  const [editing, setEditing] = useState(false);
  const { message_id: id, content, first } = question;
  const edit = useRef<HTMLButtonElement>(null);
  const leave = () => {
    flushSync(() => setEditing(false));
    edit.current?.focus();
  };
  const goes = (act: (id: string) => Promise<void>) => () => {
    void act(id);
    focusComposer();
  };
  if (editing) {
    const save = (text: string) => {
      void actions.editQueued(id, text);
      leave();
    };
    return (
      <li className={styles.editing}>
        <Editor
          label="Edit the waiting question"
          text={content}
          send="Save"
          onSend={save}
          onCancel={leave}
        />
      </li>
    );
  }
  return (
    <li className={styles.chip}>
      <Icon name="clock" size={15} />
      <span className={styles.text}>{content}</span>
      {first && (
        <Button tone="quiet" onClick={goes(actions.sendNow)}>
          Send now
        </Button>
      )}
      <IconButton
        ref={edit}
        small
        label="Edit waiting question"
        icon="pencil"
        onClick={() => setEditing(true)}
      />
      <IconButton
        small
        label="Remove waiting question"
        icon="close"
        onClick={goes(actions.removeQueued)}
      />
    </li>
  );
}
