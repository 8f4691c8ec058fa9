/** The one state and the one client of this page. Made on import, started by `app`. */

import { createActions } from "~/core/actions";
import { Api } from "~/core/api";
import { Client } from "~/core/client";
import { openSocket, openStream } from "~/core/lines";
import { at } from "~/core/root";
import { Session } from "~/core/session";
import { createState } from "~/core/state";
import type { Chat } from "~/core/types";
import { inFrame } from "./frames";
import { open } from "./route";

export const session = new Session({
  fetch: (path, init) => globalThis.fetch(at(String(path)), init),
  mode: document.querySelector<HTMLMetaElement>('meta[name="auth-mode"]')?.content ?? "none",
  path: () => location.pathname,
  go: (url) => location.assign(url),
  marks: sessionStorage,
});
export const api = new Api(session.watched);
export const store = createState();

const endings = new Set<(chat: Chat) => void>();

export const client = new Client(store, api, {
  openSocket,
  openStream,
  online: () => navigator.onLine,
  hidden: () => document.hidden,
  random: Math.random,
  frame: inFrame,
  open,
  ended: (chat) => {
    for (const tell of endings) tell(chat);
  },
});

export const actions = createActions(client, open);

/** Call `tell` for each answer that ends out of sight; returns what ends that. */
export function onEnding(tell: (chat: Chat) => void): () => void {
  endings.add(tell);
  return () => endings.delete(tell);
}
