import { type ReactNode, type Ref, useEffect, useRef, useState } from "react";
import type { BranchMessage, Outgoing } from "~/core/types";
import { Button, IconButton } from "~/ui/Button";
import { Answer } from "./answer/Answer";
import styles from "./Log.module.css";
import { Note, Question } from "./question/Question";
import { Unsent } from "./question/Unsent";
import { placeIn } from "./scroll/places";
import { useEarlier } from "./scroll/useEarlier";
import { useKeep, useScroll } from "./scroll/useScroll";

interface LogProps {
  chatId: string | null;
  agent: string;
  messages: readonly BranchMessage[];
  outgoing: readonly Outgoing[];
  busy: boolean;
  onTakeBack: (text: string) => void;
}

/** The conversation so far. Screen readers are told its end by the status region, not each word. */
export function Log({ chatId, agent, messages, outgoing, busy, onTakeBack }: LogProps) {
  const [kept] = useState(() => placeIn(chatId));
  const scroll = useScroll(kept);
  const { scrollRef, contentRef, away, toEnd } = scroll;
  const { from, to, floor, mark, earlier } = useEarlier(messages.length, scrollRef, kept);
  useKeep(chatId, floor, scroll);
  useNewest(messages.length + outgoing.length, () => toEnd("instant"));
  return (
    <div className={styles.frame}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled with the keys */}
      <div ref={scrollRef} className={styles.scroll} tabIndex={0}>
        <div
          ref={contentRef}
          className={styles.log}
          role="log"
          aria-label="Conversation"
          aria-live="off"
          aria-busy={busy}
        >
          {floor > 0 && <Earlier mark={mark} onClick={earlier} />}
          {messages.slice(from, to).map((message) => (
            <Entry
              key={message.id}
              message={message}
              agent={agent}
              last={message.id === messages.at(-1)?.id && outgoing.length === 0}
            />
          ))}
          {outgoing.map((one) => (
            <Unsent key={one.key} outgoing={one} onTakeBack={onTakeBack} />
          ))}
        </div>
      </div>
      {away && <Jump onClick={() => toEnd("smooth")} />}
    </div>
  );
}

function Entry(props: { message: BranchMessage; agent: string; last: boolean }): ReactNode {
  const { message } = props;
  if (message.role === "user") return <Question message={message} />;
  return message.role === "assistant" ? <Answer {...props} /> : <Note message={message} />;
}

/** Above the first message that is shown; whoever comes near it sees more, without a click too. */
function Earlier({ mark, onClick }: { mark: Ref<HTMLDivElement>; onClick: () => void }) {
  return (
    <div ref={mark} className={styles.earlier}>
      <Button tone="quiet" icon="clock" onClick={onClick}>
        Earlier messages
      </Button>
    </div>
  );
}

function Jump({ onClick }: { onClick: () => void }) {
  return (
    <div className={styles.jump}>
      <IconButton
        className={styles.round}
        label="Jump to latest"
        icon="arrowDown"
        onClick={onClick}
      />
    </div>
  );
}

/** Calls `act` when there are more messages than before: the person's own is always followed. */
function useNewest(count: number, act: () => void): void {
  const known = useRef(count);
  useEffect(() => {
    if (count > known.current) act();
    known.current = count;
  });
}
