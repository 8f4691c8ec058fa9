import { lazy, Suspense, useState } from "react";
import type { BranchMessage, Transcript } from "~/core/types";
import { actions } from "~/hooks";
import { IconButton } from "~/ui/Button";
import { CopyButton } from "~/ui/CopyButton";
import { focusComposer } from "~/ui/focus";
import { Branches } from "../Branches";
import styles from "./Answer.module.css";
import { Thumbs } from "./Thumbs";

const Details = lazy(() => import("../details/Details"));

interface AnswerActionsProps {
  message: BranchMessage;
  transcript: Transcript;
  text: string;
}

/** What can be done with a finished answer. */
export function AnswerActions({ message, transcript, text }: AnswerActionsProps) {
  const [details, setDetails] = useState(false);
  const [busy, setBusy] = useState(false);
  const id = transcript.request_id;
  const regenerate = async () => {
    setBusy(true);
    focusComposer();
    await actions.regenerate(id);
    setBusy(false);
  };
  return (
    <div className={styles.actions}>
      <Branches message={message} what="answer" />
      {text && <CopyButton label="Copy message" text={() => text} />}
      <IconButton small label="Answer again" icon="retry" disabled={busy} onClick={regenerate} />
      {text && <Thumbs requestId={id} />}
      <IconButton small label="Details" icon="info" onClick={() => setDetails(true)} />
      {details && (
        <Suspense>
          <Details requestId={id} onClose={() => setDetails(false)} />
        </Suspense>
      )}
    </div>
  );
}
