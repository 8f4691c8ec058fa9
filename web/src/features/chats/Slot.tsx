import { useStore } from "zustand";
import { type RowState, rowState } from "~/core/chats";
import type { Chat } from "~/core/types";
import { store, useNow } from "~/hooks";
import { Hidden } from "~/ui/Hidden";
import { Icon } from "~/ui/icons";
import { Spinner } from "~/ui/Spinner";
import styles from "./Slot.module.css";

/** How a chat stands, in one place of fixed width; each state has words, not only a colour. */
export function Slot({ chat }: { chat: Chat }) {
  const position = useStore(store, (state) => state.positions[chat.id] ?? null);
  const state = rowState(chat, position);
  return (
    <span className={styles.slot} data-state={state.kind}>
      <Sign state={state} />
    </span>
  );
}

function Sign({ state }: { state: RowState }) {
  switch (state.kind) {
    case "answering":
      return (
        <>
          <Spinner />
          <Hidden>, answering</Hidden>
        </>
      );
    case "queued":
      return (
        <span className={styles.queued}>
          <Hidden>, queued{state.position ? ", position " : ""}</Hidden>
          <Icon name="clock" size={14} />
          {state.position}
        </span>
      );
    case "attention":
      return (
        <span className={styles.attention}>
          <Icon name="alert" size={15} />
          <Hidden>, needs attention</Hidden>
        </span>
      );
    case "unread":
      return (
        <>
          <span className={styles.dot} />
          <Hidden>, new answer</Hidden>
        </>
      );
    case "time":
      return <Time at={state.at} />;
  }
}

function Time({ at }: { at: string }) {
  return <time dateTime={at}>{shortTime(new Date(at), useNow())}</time>;
}

const MINUTE_MS = 60_000;

/** A moment in at most four characters or so. */
export function shortTime(at: Date, now: Date): string {
  const minutes = Math.max(0, Math.floor((now.getTime() - at.getTime()) / MINUTE_MS));
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes}m`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h`;
  if (minutes < 7 * 24 * 60) return `${Math.floor(minutes / 60 / 24)}d`;
  return at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
}
