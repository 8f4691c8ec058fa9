/** What a person can do. Nothing here throws: what went wrong becomes a notice. */

import { type Api, problemText } from "./api";
import type { Client } from "./client";
import { keepPreferences } from "./keep";
import { Removals } from "./removals";
import { NO_TREE, type Store } from "./state";
import { leafBelow } from "./trees";
import type { Actions, Chat, Notice } from "./types";

/** What goes on behind an answer: no upstream can be told to by anything but a question. */
export const CONTINUE = "Please continue exactly where you stopped.";

export function createActions(client: Client, open: (chat_id: string | null) => void): Actions {
  const { store, api } = client;
  const notify = (notice: Omit<Notice, "id">) => addNotice(store, notice);
  const trying = attempts(notify);
  const removals = new Removals(client, notify, open);
  return {
    ...asking(client),
    ...answering(client, trying),
    ...queueing(client, trying),
    ...arranging(client, trying),
    remove: (chat_id) => removals.remove(chat_id),
    reload: (chat_id) => client.readTree(chat_id),
    giveFeedback: (request_id, value, rationale) =>
      trying(() => api.assess(request_id, value, rationale)),
    notify,
    dismiss: (id) =>
      store.setState(({ notices }) => ({ notices: notices.filter((one) => one.id !== id) })),
    setPreferences: (changes) => {
      store.setState((state) => ({ preferences: { ...state.preferences, ...changes } }));
      keepPreferences(store.getState().preferences);
    },
  };
}

/** More would be in the way: the oldest ones go. */
const NOTICES_MAX = 3;

export function addNotice(store: Store, notice: Omit<Notice, "id">): void {
  const id = crypto.randomUUID();
  store.setState(({ notices }) => ({
    notices: [...notices, { ...notice, id }].slice(-NOTICES_MAX),
  }));
}

type Trying = (act: () => Promise<unknown>) => Promise<boolean>;

/** Return what runs a call and tells when it did not work. */
function attempts(notify: Actions["notify"]): Trying {
  return async (act) => {
    try {
      await act();
      return true;
    } catch (error) {
      notify({ kind: "failed", text: problemText(error) });
      return false;
    }
  };
}

function asking({
  store,
  outbox,
}: Client): Pick<Actions, "send" | "resend" | "takeBack" | "edit" | "continueAnswer"> {
  return {
    send: ({ chat_id, content, agent_id = null, if_busy = "queue" }) =>
      outbox.send({ chat_id, content, agent_id, if_busy }),
    resend: (key) => outbox.resend(key),
    takeBack: (key) => outbox.takeBack(key),
    edit: (message_id, content) => {
      const { trees } = store.getState();
      const node = Object.values(trees).find((tree) => tree.nodes[message_id])?.nodes[message_id];
      if (!node) return;
      const { chat_id, parent_id } = node;
      const from_root = parent_id === null;
      const if_busy = "interrupt" as const;
      outbox.send({ chat_id, agent_id: null, content, parent_id, from_root, if_busy });
    },
    continueAnswer: (chat_id) =>
      outbox.send({ chat_id, agent_id: null, content: CONTINUE, if_busy: "queue" }),
  };
}

function answering(
  client: Client,
  trying: Trying,
): Pick<Actions, "stop" | "retry" | "regenerate" | "selectBranch"> {
  const { api, store } = client;
  const again = async (request_id: string) => {
    await trying(async () => {
      const { chat_id } = await api.retry(request_id);
      await client.readTree(chat_id);
    });
  };
  return {
    stop: async (request_id) => {
      await trying(async () => {
        const { chat_id } = await api.cancel(request_id);
        await client.readTree(chat_id);
      });
    },
    retry: again,
    regenerate: again,
    selectBranch: async (chat_id, message_id) => {
      const current = leafBelow(store.getState().trees[chat_id] ?? NO_TREE, message_id);
      client.changeTree(chat_id, (tree) => ({ ...tree, current }));
      await change(client, trying, chat_id, { current_message_id: current });
    },
  };
}

function queueing(
  client: Client,
  trying: Trying,
): Pick<Actions, "editQueued" | "removeQueued" | "sendNow"> {
  const { api } = client;
  const chatOf = (message_id: string) => {
    const { trees } = client.store.getState();
    return Object.keys(trees).find((id) => trees[id]?.nodes[message_id]);
  };
  const thenRead = async (message_id: string, act: () => Promise<unknown>) => {
    const chat_id = chatOf(message_id);
    const done = await trying(act);
    if (chat_id) await client.readTree(chat_id);
    return done;
  };
  return {
    editQueued: (message_id, content) =>
      thenRead(message_id, () => api.editMessage(message_id, content)),
    removeQueued: async (message_id) => {
      await thenRead(message_id, () => api.removeMessage(message_id));
    },
    sendNow: async (message_id) => {
      const chat_id = chatOf(message_id);
      const running = chat_id && client.activeRequest(chat_id);
      if (running) await thenRead(message_id, () => api.cancel(running));
    },
  };
}

function arranging(client: Client, trying: Trying): Pick<Actions, "rename" | "pin" | "archive"> {
  const apply = (chat_id: string, changes: Partial<Chat>) =>
    change(client, trying, chat_id, changes);
  return {
    rename: (chat_id, title) => apply(chat_id, { title }),
    pin: (chat_id, pinned) => apply(chat_id, { pinned }),
    archive: (chat_id, archived) => apply(chat_id, { archived }),
  };
}

/** Show a change at once; the server's word replaces it, or takes it back. */
async function change(client: Client, trying: Trying, chat_id: string, changes: Partial<Chat>) {
  const before = client.store.getState().chats[chat_id];
  if (before) client.takeChats([{ ...before, ...changes }]);
  const done = await trying(async () => {
    client.takeChats([(await changed(client.api, chat_id, changes)) as Chat]);
  });
  if (!done && before) client.takeChats([before]);
}

function changed(api: Api, chat_id: string, changes: Partial<Chat>) {
  const { title, pinned, archived, current_message_id } = changes;
  return api.change(chat_id, {
    ...(title === undefined ? {} : { title }),
    ...(pinned === undefined ? {} : { pinned }),
    ...(archived === undefined ? {} : { archived }),
    ...(current_message_id ? { current_message_id } : {}),
  });
}
