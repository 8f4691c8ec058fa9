import { useState } from "react";
import { actions, useFeedback } from "~/hooks";
import { Button, IconButton } from "~/ui/Button";
import { Dialog } from "~/ui/Dialog";
import { TextArea } from "~/ui/TextArea";

/** A verdict on an answer, with a comment when somebody wants to give one. */
export function Thumbs({ requestId }: { requestId: string }) {
  const feedback = useFeedback(requestId);
  const [asking, setAsking] = useState<boolean | null>(null);
  const give = async (value: boolean, rationale?: string) => {
    if (await actions.giveFeedback(requestId, value, rationale)) feedback.refresh();
  };
  const judge = (value: boolean) => {
    setAsking(value);
    void give(value, feedback.value === value ? (feedback.rationale ?? undefined) : undefined);
  };
  return (
    <>
      <IconButton
        small
        label="Good answer"
        icon="thumbUp"
        aria-pressed={feedback.value === true}
        onClick={() => judge(true)}
      />
      <IconButton
        small
        label="Bad answer"
        icon="thumbDown"
        aria-pressed={feedback.value === false}
        onClick={() => judge(false)}
      />
      {asking !== null && (
        <Comment
          good={asking}
          given={feedback.rationale ?? ""}
          onClose={() => setAsking(null)}
          onGive={(rationale) => void give(asking, rationale)}
        />
      )}
    </>
  );
}

interface CommentProps {
  good: boolean;
  given: string;
  onClose: () => void;
  onGive: (rationale: string) => void;
}

function Comment({ good, given, onClose, onGive }: CommentProps) {
  const [text, setText] = useState(given);
  const send = () => {
    onGive(text.trim());
    onClose();
  };
  return (
    <Dialog
      open
      title={good ? "What was good about it?" : "What was wrong with it?"}
      onClose={onClose}
    >
      <TextArea
        label="Comment (optional); your verdict is kept already."
        value={text}
        onChange={setText}
        rows={4}
        maxLength={4000}
      />
      <footer>
        <Button onClick={onClose}>Not now</Button>
        <Button tone="primary" disabled={!text.trim()} onClick={send}>
          Send comment
        </Button>
      </footer>
    </Dialog>
  );
}
