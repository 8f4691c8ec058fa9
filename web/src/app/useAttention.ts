import { useEffect } from "react";
import { useStore } from "zustand";
import type { Chat } from "~/core/types";
import { actions, store } from "~/hooks";
import { onEnding } from "~/hooks/connected";
import { open } from "~/hooks/route";
import { chime } from "./chime";
import { markFavicon } from "./favicon";

const name = document.title;

/** Tells of answers that end out of sight: a notice, the count in title and icon, and on demand a
 * notification and a sound. */
export function useAttention(): void {
  const unread = useStore(
    store,
    ({ chats, hidden }) =>
      Object.values(chats).filter((chat) => chat.unread && !chat.archived && !hidden[chat.id])
        .length,
  );
  const title = useStore(store, ({ route, chats }) => (route ? chats[route]?.title : undefined));
  useEffect(() => {
    const place = title ? `${title} · ${name}` : name;
    document.title = unread > 0 ? `(${unread}) ${place}` : place;
    markFavicon(unread > 0);
  }, [unread, title]);
  useEffect(() => onEnding(tell), []);
}

function tell(chat: Chat): void {
  const failed = chat.last_status === "failed";
  const text = failed ? `“${chat.title}” could not be answered` : `“${chat.title}” is answered`;
  const { route, preferences } = store.getState();
  if (route !== chat.id) {
    actions.notify({ kind: failed ? "failed" : "finished", text, chat_id: chat.id });
  }
  if (preferences.sound) chime();
  if (preferences.notifications && document.hidden) announce(chat, text);
}

function announce(chat: Chat, text: string): void {
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  const notification = new Notification(name, { body: text, tag: chat.id, silent: true });
  notification.onclick = () => {
    window.focus();
    open(chat.id);
    notification.close();
  };
}
