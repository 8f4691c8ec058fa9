import { useRef, useState } from "react";
import { actions, useFeedback } from "~/hooks";
import { Button, IconButton } from "~/ui/Button";
import { Dialog } from "~/ui/Dialog";
import { TextArea } from "~/ui/TextArea";
import { useSeen } from "~/ui/useSeen";

/** A verdict on an answer; once given, a comment can be added. */
export function Thumbs({ requestId }: { requestId: string }) {
  const place = useRef<HTMLButtonElement>(null);
  const feedback = useFeedback(useSeen(place) ? requestId : null);
  const [commenting, setCommenting] = useState(false);
  const { value: given, rationale } = feedback;
  const give = async (value: boolean, comment?: string) => {
    if (await actions.giveFeedback(requestId, value, comment)) feedback.refresh();
  };
  const judge = (value: boolean) => {
    if (value !== given) void give(value);
  };
  return (
    <>
      <IconButton
        ref={place}
        small
        label="Good answer"
        icon="thumbUp"
        aria-pressed={given === true}
        onClick={() => judge(true)}
      />
      <IconButton
        small
        label="Bad answer"
        icon="thumbDown"
        aria-pressed={given === false}
        onClick={() => judge(false)}
      />
      {given !== null && (
        <Button tone="quiet" onClick={() => setCommenting(true)}>
          {rationale ? "Edit comment" : "Add a comment"}
        </Button>
      )}
      {commenting && given !== null && (
        <Comment
          good={given}
          given={rationale ?? ""}
          onClose={() => setCommenting(false)}
          onGive={(comment) => void give(given, comment)}
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
      holds={text.trim() !== "" && text !== given}
      onClose={onClose}
    >
      <TextArea
        ref={(field) => field?.setAttribute("autofocus", "")}
        label="Your comment"
        value={text}
        onChange={setText}
        rows={4}
        maxLength={4000}
      />
      <footer>
        <Button onClick={onClose}>Not now</Button>
        <Button tone="primary" disabled={!text.trim()} onClick={send}>
          Send
        </Button>
      </footer>
    </Dialog>
  );
}
