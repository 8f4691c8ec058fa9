import { memo, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { CONTINUE } from "~/core/actions";
import type { BranchMessage } from "~/core/types";
import { actions } from "~/hooks";
import { IconButton } from "~/ui/Button";
import { CopyButton } from "~/ui/CopyButton";
import { focusComposer } from "~/ui/focus";
import { Icon } from "~/ui/icons";
import { Branches } from "../Branches";
import { Bubble } from "./Bubble";
import { Editor } from "./Editor";
import styles from "./Question.module.css";

interface QuestionProps {
  message: BranchMessage;
}

/** What a person asked; editing it asks anew, beside the old question. */
export const Question = memo(function Question({ message }: QuestionProps) {
  const [editing, setEditing] = useState(false);
  const resend = (content: string) => {
    actions.edit(message.id, content);
    setEditing(false);
    focusComposer();
  };
  const edit = useRef<HTMLButtonElement>(null);
  const leave = () => {
    flushSync(() => setEditing(false));
    edit.current?.focus();
  };
  if (message.content === CONTINUE) return <GoingOn message={message} />;
  return (
    <article className={styles.question} aria-label="You">
      {editing ? (
        <Editor
          label="Edit your question"
          text={message.content}
          send="Send"
          onSend={resend}
          onCancel={leave}
        />
      ) : (
        <>
          <Bubble text={message.content} />
          <div className={styles.actions}>
            <Branches message={message} what="question" />
            <CopyButton label="Copy question" text={() => message.content} />
            <IconButton
              ref={edit}
              small
              label="Edit"
              icon="pencil"
              onClick={() => setEditing(true)}
            />
          </div>
        </>
      )}
    </article>
  );
});

/** The question behind "Continue": what matters is the answer that goes on below it. */
function GoingOn({ message }: QuestionProps) {
  return (
    <article className={styles.goingOn} aria-label="You" title={message.content}>
      <Icon name="forward" size={15} />
      You asked to continue
      <Branches message={message} what="question" />
    </article>
  );
}

/** A text that came with the chat and is neither a question nor an answer. */
export function Note({ message }: QuestionProps) {
  return (
    <article className={styles.note} aria-label={message.role}>
      {message.content}
    </article>
  );
}
