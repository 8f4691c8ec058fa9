import { memo, useMemo } from "react";
import { isTerminal } from "~/core/fold";
import type { BranchMessage, Transcript } from "~/core/types";
import { useTranscript } from "~/hooks";
import { Icon } from "~/ui/icons";
import { join } from "~/ui/join";
import { Markdown } from "../markdown/Markdown";
import styles from "./Answer.module.css";
import { AnswerActions } from "./AnswerActions";
import { againOf } from "./again";
import { EndCard } from "./EndCard";
import { endingOf } from "./endings";
import { Progress } from "./Progress";
import { type Part, partsOf, textOf } from "./parts";
import { Reasoning } from "./Reasoning";
import { Sources } from "./Sources";
import { ToolCard } from "./ToolCard";

interface AnswerProps {
  message: BranchMessage;
  agent: string;
  /** The last of the branch: its actions are always visible, its end can be acted on. */
  last: boolean;
}

/** An answer: what it says, how it stands, and what can be done with it. */
export const Answer = memo(function Answer({ message, agent, last }: AnswerProps) {
  const transcript = useTranscript(message.request_id);
  return (
    <article
      className={join(styles.answer, last && styles.last)}
      aria-label={`Answer of ${agent}`}
      data-request={message.request_id}
    >
      {transcript ? (
        <Told message={message} transcript={transcript} last={last} />
      ) : (
        <Markdown text={message.content} />
      )}
    </article>
  );
});

interface ToldProps {
  message: BranchMessage;
  transcript: Transcript;
  last: boolean;
}

function Told({ message, transcript, last }: ToldProps) {
  const { items, status, seen } = transcript;
  const parts = useMemo(() => partsOf({ items, status, seen }), [items, status, seen]);
  const text = textOf(parts);
  const ended = isTerminal(status);
  const ending = endingOf(transcript, text);
  const again = againOf(transcript.attempt, transcript.reason);
  return (
    <>
      {again && (
        <p className={styles.again}>
          <Icon name="retry" size={15} />
          {again}
        </p>
      )}
      {parts.map((part) => (
        <PartView key={part.key} part={part} />
      ))}
      {!ended && <Progress transcript={transcript} parts={parts} />}
      {ending && (
        <EndCard
          ending={ending}
          chatId={message.chat_id}
          requestId={transcript.request_id}
          actable={last}
        />
      )}
      {ended && <AnswerActions message={message} transcript={transcript} text={text} />}
    </>
  );
}

const PartView = memo(
  function PartView({ part }: { part: Part }) {
    switch (part.kind) {
      case "text":
        return (
          <div>
            <Markdown text={part.text} growing={part.growing} cut={part.cut} />
            <Sources sources={part.sources} />
          </div>
        );
      case "refusal":
        return <p className={styles.refusal}>{part.text}</p>;
      case "reasoning":
        return <Reasoning part={part} />;
      case "tool":
        return <ToolCard part={part} />;
    }
  },
  (before, after) => sameIn(before.part, after.part),
);

/** Compares parts by what they say: the end of an answer brings new objects with the same words. */
function sameIn(before: Part, after: Part): boolean {
  const { sources: a = [], ...one } = { sources: [], ...before };
  const { sources: b = [], ...other } = { sources: [], ...after };
  return a.length === b.length && shallow(one, other);
}

function shallow(one: object, other: object): boolean {
  const values = new Map(Object.entries(other));
  return Object.entries(one).every(([name, value]) => Object.is(values.get(name), value));
}
