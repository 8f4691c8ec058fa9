/** Three routes: `/` is the new chat, `/c/<id>` a chat, `/operator` the operator page. */

import { useSyncExternalStore } from "react";
import { at, within } from "~/core/root";

const CHAT = /^\/c\/([\w-]{1,128})\/?$/;
const OPERATOR = "/operator";
const listeners = new Set<() => void>();

export function routeOf(path: string): string | null {
  return CHAT.exec(path)?.[1] ?? null;
}

export function currentRoute(): string | null {
  return routeOf(within(location.pathname));
}

/** Go to a chat, or to the new one. */
export function open(chat_id: string | null): void {
  go(chat_id === null ? "/" : `/c/${chat_id}`);
}

/** Go to the operator page. */
export function operate(): void {
  go(OPERATOR);
}

function go(path: string): void {
  if (at(path) !== location.pathname) history.pushState(null, "", at(path));
  for (const listener of listeners) listener();
}

/** Whether the operator page is shown. */
export function useOperating(): boolean {
  return useSyncExternalStore(onRoute, () => within(location.pathname) === OPERATOR);
}

/** Call `listener` after each change of the address; returns what ends that. */
export function onRoute(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

export function useRoute(): { chatId: string | null; open: (chatId: string | null) => void } {
  const chatId = useSyncExternalStore(onRoute, currentRoute);
  return { chatId, open };
}
