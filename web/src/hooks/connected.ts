/** The one state and the one client of this page. Made on import, started by `app`. */

import { createActions } from "~/core/actions";
import { Api } from "~/core/api";
import { Client } from "~/core/client";
import { openSocket, openStream } from "~/core/lines";
import { Session } from "~/core/session";
import { createState } from "~/core/state";
import type { Chat } from "~/core/types";
import { open } from "./route";

export const session = new Session({
  fetch: (...given) => globalThis.fetch(...given),
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
  frame: (act) => {
    // Hidden tabs get no frames, but are to know how they stand when they are looked at.
    if (document.hidden) setTimeout(act, 100);
    else requestAnimationFrame(act);
  },
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
