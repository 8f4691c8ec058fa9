/** What the page knows, in one place; changed only from `core`, read through `hooks`. */

import { createStore, type StoreApi } from "zustand/vanilla";
import { loadPreferences } from "./keep";
import type {
  Chat,
  Connection,
  MessageNode,
  Notice,
  Outgoing,
  Preferences,
  Transcript,
} from "./types";

/** A chat's messages; `current` is the last one of the active branch. */
export interface Tree {
  load: "loading" | "ready" | "missing" | "failed";
  problem: string | null;
  nodes: Readonly<Record<string, MessageNode>>;
  current: string | null;
}

export interface State {
  /** Chats the page has heard of, in no order; see `chats.ts`. */
  chats: Readonly<Record<string, Chat>>;
  /** Chats that are being deleted; undo brings them back. */
  hidden: Readonly<Record<string, true>>;
  trees: Readonly<Record<string, Tree>>;
  transcripts: Readonly<Record<string, Transcript>>;
  /** Place in the queue by chat, for chats whose first question waits. */
  positions: Readonly<Record<string, number>>;
  outgoing: readonly Outgoing[];
  connection: Connection;
  notices: readonly Notice[];
  preferences: Preferences;
  /** The chat on the screen; null = the new one. */
  route: string | null;
}

export type Store = StoreApi<State>;

export function createState(): Store {
  return createStore<State>(() => ({
    chats: {},
    hidden: {},
    trees: {},
    transcripts: {},
    positions: {},
    outgoing: [],
    connection: "connecting",
    notices: [],
    preferences: loadPreferences(),
    route: null,
  }));
}

export const NO_TREE: Tree = { load: "loading", problem: null, nodes: {}, current: null };
