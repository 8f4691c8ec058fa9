/** The page's connection to the server, put together: what comes in changes the state, and what
 * the state lacks is read. The server decides what runs; the page only remembers. */

import { type Api, CallError, problemText } from "./api";
import type { AcceptedRequest } from "./api.gen";
import { merged } from "./chats";
import { isTerminal, type StreamEvent } from "./fold";
import type { LiveMessage } from "./lines";
import { Live, type World } from "./live";
import { Outbox } from "./outbox";
import { NO_TREE, type Store, type Tree } from "./state";
import { Transcripts } from "./transcripts";
import { activeIn, contradicts, treeOf, unfinished } from "./trees";
import type { Chat, Outgoing } from "./types";

/** A terminal event and the change of its chat come on the same line, in any order. */
const AGREE_MS = 1_000;
const NEWS_MS = 600;
const POSITIONS_MS = 2_500;
const HEAL_MS = 10_000;
/** Chats left open in the background: their answers are there at once on return. */
const WARM_CHATS = 8;
const ATTACHED_MAX = 60;

export interface Page extends World {
  frame(act: () => void): void;
  /** Show this chat; null = the new one. */
  open(chat_id: string | null): void;
  /** A background answer ended. */
  ended(chat: Chat): void;
}

export class Client {
  readonly transcripts: Transcripts;
  readonly outbox: Outbox;
  private readonly live: Live;
  private revision: number | null = null;
  private warm: string[] = [];
  private readonly attached = new Set<string>();
  private readonly reads = new Map<string, Promise<void>>();
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();
  private healing: ReturnType<typeof setInterval> | undefined;
  private positionsTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    readonly store: Store,
    readonly api: Api,
    private readonly page: Page,
  ) {
    this.transcripts = new Transcripts(store, {
      reread: (request_id, after) => {
        this.transcripts.joined(request_id);
        this.live.attach(request_id, after);
      },
      ended: (request_id) => this.attached.delete(request_id),
      frame: page.frame,
    });
    this.outbox = new Outbox(store, api, (outgoing, accepted) => this.accepted(outgoing, accepted));
    this.live = new Live(
      {
        message: (message) => this.hear(message),
        connection: (connection) => store.setState({ connection }),
        cursors: () => this.cursors(),
        poll: () => this.poll(),
        wantedHidden: () => this.wantedHidden(),
      },
      page,
    );
  }

  start(): void {
    this.outbox.restore();
    // The list says from which revision on the line is to tell changes: none is missed.
    void this.readChats().then(() => this.live.start());
    this.healing = setInterval(() => this.heal(), HEAL_MS);
  }

  stop(): void {
    this.live.stop();
    clearInterval(this.healing);
    this.timers.forEach(clearTimeout);
    this.timers.clear();
  }

  /** The network or the person is back. */
  wake(): void {
    this.live.wake();
    this.outbox.wake();
    this.markRead();
    this.followPositions();
  }

  offline(): void {
    this.live.offline();
  }

  hide(): void {
    this.live.hide();
  }

  expectSignEach(keepalive_s: number): void {
    this.live.expectSignEach(keepalive_s);
  }

  /** A chat came on the screen. What is known of it is shown at once, and read again behind it. */
  show(chat_id: string | null): void {
    this.store.setState(({ notices }) => ({
      route: chat_id,
      notices: notices.filter((notice) => !chat_id || notice.chat_id !== chat_id),
    }));
    if (chat_id === null) return;
    this.warm = [chat_id, ...this.warm.filter((id) => id !== chat_id)].slice(0, WARM_CHATS);
    void this.readTree(chat_id);
    this.markRead();
  }

  /** Take in chats as the server tells them. */
  takeChats(told: readonly Chat[]): void {
    const before = this.store.getState().chats;
    this.store.setState({ chats: merged(before, told) });
    for (const chat of told) {
      this.revision = Math.max(this.revision ?? 0, chat.revision);
      this.compare(chat);
      if (isNews(before[chat.id], chat)) this.news(chat);
    }
    this.markRead();
    this.followPositions();
  }

  /** Read a chat's messages; one reading at a time, repeated if asked for meanwhile. */
  readTree(chat_id: string): Promise<void> {
    const running = this.reads.get(chat_id);
    if (running) return running;
    const reading = this.fetchTree(chat_id).finally(() => this.reads.delete(chat_id));
    this.reads.set(chat_id, reading);
    return reading;
  }

  changeTree(chat_id: string, change: (tree: Tree) => Tree): void {
    this.store.setState((state) => ({
      trees: { ...state.trees, [chat_id]: change(state.trees[chat_id] ?? NO_TREE) },
    }));
  }

  forget(chat_id: string): void {
    this.warm = this.warm.filter((id) => id !== chat_id);
    const tree = this.store.getState().trees[chat_id];
    if (tree) this.detach(unfinished(tree, this.statusOf));
    this.store.setState((state) => {
      const { [chat_id]: _chat, ...chats } = state.chats;
      const { [chat_id]: _tree, ...trees } = state.trees;
      return { chats, trees };
    });
  }

  readonly statusOf = (request_id: string | null) => this.transcripts.status(request_id);

  /** What is to be stopped in a chat: what runs, else what comes first. */
  activeRequest(chat_id: string): string | null {
    const { chats, trees } = this.store.getState();
    const running = chats[chat_id]?.running_request_id;
    return running ?? activeIn(trees[chat_id] ?? NO_TREE, this.statusOf);
  }

  /** Put an accepted question and its answer into the tree, and follow it. */
  private accepted(outgoing: Outgoing, accepted: AcceptedRequest): void {
    const { chat_id, request_id } = accepted;
    this.transcripts.begin(request_id);
    const fresh = outgoing.chat_id === null;
    this.changeTree(chat_id, (tree) => withQuestion(tree, outgoing, accepted, fresh));
    this.attach([request_id]);
    const { route, chats } = this.store.getState();
    if (fresh && route === null) this.page.open(chat_id);
    if (fresh || !chats[chat_id]) void this.readChat(chat_id);
  }

  private async fetchTree(chat_id: string): Promise<void> {
    const before = this.store.getState().trees[chat_id] ?? NO_TREE;
    try {
      const sent = await this.api.tree(chat_id);
      for (const message of sent.messages) {
        if (message.role === "assistant") this.transcripts.take(message);
      }
      this.transcripts.flush();
      this.changeTree(chat_id, (now) => withNewer(treeOf(sent), before, now));
      this.follow(chat_id);
    } catch (error) {
      this.unreadable(chat_id, error);
    }
  }

  private unreadable(chat_id: string, error: unknown): void {
    const missing = error instanceof CallError && error.status === 404;
    this.changeTree(chat_id, (tree) =>
      tree.load === "ready" && !missing
        ? tree
        : { ...tree, load: missing ? "missing" : "failed", problem: problemText(error) },
    );
  }

  private async readChat(chat_id: string): Promise<void> {
    const chat = await this.api.chat(chat_id).catch(() => null);
    if (chat) this.takeChats([chat as Chat]);
  }

  private async readChats(): Promise<boolean> {
    try {
      const page = await this.api.chats();
      this.takeChats(page.chats as Chat[]);
      this.revision = Math.max(this.revision ?? 0, page.revision);
      return true;
    } catch {
      return false; // the line tells how the connection stands
    }
  }

  private follow(chat_id: string): void {
    const tree = this.store.getState().trees[chat_id];
    if (tree) this.attach(unfinished(tree, this.statusOf));
  }

  private attach(request_ids: readonly string[]): void {
    for (const request_id of request_ids) {
      if (this.attached.has(request_id) || this.attached.size >= ATTACHED_MAX) continue;
      this.attached.add(request_id);
      this.transcripts.joined(request_id);
      this.live.attach(request_id, this.transcripts.cursor(request_id));
    }
  }

  private detach(request_ids: readonly string[]): void {
    for (const request_id of request_ids) {
      if (this.attached.delete(request_id)) this.live.detach(request_id);
    }
  }

  private cursors() {
    const attached = new Map<string, number>();
    for (const request_id of this.attached) {
      this.transcripts.joined(request_id);
      attached.set(request_id, this.transcripts.cursor(request_id));
    }
    return { since: this.revision, attached };
  }

  private hear(message: LiveMessage): void {
    if (message.event && message.request_id) {
      this.transcripts.hear(message.request_id, message.event as StreamEvent);
    } else if (message.chat) {
      this.takeChats([message.chat as Chat]);
    } else if (message.error && message.request_id) {
      this.unfollowable(message.request_id);
    } else if (message.op === "hello" && this.revision === null) {
      this.revision = message.revision ?? null;
      void this.readChats();
    }
  }

  /** A request cannot be followed: pruned, deleted. Its chat's messages say what is left. */
  private unfollowable(request_id: string): void {
    this.attached.delete(request_id);
    const { trees } = this.store.getState();
    const chat_id = Object.keys(trees).find((id) => holds(trees[id], request_id));
    if (chat_id) this.later(chat_id, AGREE_MS, () => this.readTree(chat_id));
  }

  /** Look whether a chat and its tree agree; if not, read the tree, after giving it a moment. */
  private compare(chat: Chat): void {
    if (chat.deleted) {
      this.later(chat.id, 0, () => this.gone(chat.id));
      return;
    }
    const tree = this.store.getState().trees[chat.id];
    if (!tree || !this.warm.includes(chat.id) || !contradicts(chat, tree, this.statusOf)) return;
    const foreign = chat.current_message_id && !tree.nodes[chat.current_message_id];
    this.later(chat.id, foreign ? 30 : AGREE_MS, () => {
      const { chats, trees } = this.store.getState();
      const [now, then] = [chats[chat.id], trees[chat.id]];
      if (now && then && contradicts(now, then, this.statusOf)) void this.readTree(chat.id);
    });
  }

  private gone(chat_id: string): void {
    const { route } = this.store.getState();
    this.forget(chat_id);
    if (route === chat_id) this.page.open(null);
  }

  /** Tell of an answer that ended out of sight, unless another tab or device shows it. */
  private news(chat: Chat): void {
    this.later(`news ${chat.id}`, NEWS_MS, () => {
      const { route, chats, hidden } = this.store.getState();
      const now = chats[chat.id];
      const seen = route === chat.id && !this.page.hidden();
      if (now?.unread && !seen && !hidden[chat.id]) this.page.ended(now);
    });
  }

  /** The chat on the screen is read, for all devices. */
  private markRead(): void {
    const { route, chats } = this.store.getState();
    const chat = route ? chats[route] : undefined;
    if (!chat?.unread || this.page.hidden()) return;
    this.later(`read ${chat.id}`, 100, async () => {
      const read = await this.api.markRead(chat.id).catch(() => null);
      if (read) this.takeChats([read as Chat]);
    });
  }

  /** What no event tells: where in the queue the waiting questions stand. */
  private followPositions(): void {
    if (this.positionsTimer || !this.anyWaits() || this.page.hidden()) return;
    this.positionsTimer = setTimeout(
      async () => {
        await this.readPositions().catch(() => {});
        this.positionsTimer = null;
        this.followPositions();
      },
      this.knowsPositions() ? POSITIONS_MS : 50,
    );
  }

  private async readPositions(): Promise<void> {
    const { requests } = await this.api.waiting();
    const positions: Record<string, number> = {};
    for (const { id, chat_id, queue_position } of requests) {
      this.transcripts.position(id, queue_position);
      if (queue_position === null) continue;
      positions[chat_id] = Math.min(positions[chat_id] ?? queue_position, queue_position);
    }
    this.store.setState({ positions });
  }

  private anyWaits(): boolean {
    const { chats } = this.store.getState();
    return Object.values(chats).some((chat) => chat.queued > 0 && !chat.deleted);
  }

  private knowsPositions(): boolean {
    const { chats, positions } = this.store.getState();
    return Object.values(chats).every(
      (chat) => chat.queued === 0 || chat.running_request_id || positions[chat.id],
    );
  }

  /** Ask the server about an answer on the screen that seems to run: a spinner must not outlive
   * it, whatever was missed. */
  private heal(): void {
    const { route, trees } = this.store.getState();
    const tree = route ? trees[route] : undefined;
    if (!route || !tree || this.page.hidden() || !this.page.online()) return;
    for (const request_id of unfinished(tree, this.statusOf).slice(0, 1)) {
      this.api
        .status(request_id)
        .then((now) => {
          const behind = now.sequence_number > this.transcripts.cursor(request_id);
          if (isTerminal(now.status) || behind) this.agree(route, request_id);
        })
        .catch(() => this.readTree(route));
    }
  }

  private agree(chat_id: string, request_id: string): void {
    this.later(chat_id, AGREE_MS, async () => {
      if (isTerminal(this.statusOf(request_id))) return;
      await this.readTree(chat_id);
      this.live.attach(request_id, this.transcripts.cursor(request_id));
    });
  }

  private async poll(): Promise<boolean> {
    const { route, trees } = this.store.getState();
    const tree = route ? trees[route] : undefined;
    const answered = await this.readChats();
    if (answered && route && tree && unfinished(tree, this.statusOf).length > 0) {
      await this.readTree(route);
    }
    return answered;
  }

  private wantedHidden(): boolean {
    const { notifications, sound } = this.store.getState().preferences;
    return notifications || sound;
  }

  private later(name: string, ms: number, act: () => unknown): void {
    if (this.timers.has(name)) return;
    this.timers.set(
      name,
      setTimeout(() => {
        this.timers.delete(name);
        act();
      }, ms),
    );
  }
}

/** Whether an answer ended that the person has not seen: unread began, or began anew. */
function isNews(before: Chat | undefined, now: Chat): boolean {
  if (!before || now.deleted || !now.unread) return false;
  return !before.unread || (before.running_request_id !== null && !now.running_request_id);
}

function holds(tree: Tree | undefined, request_id: string): boolean {
  return Object.values(tree?.nodes ?? {}).some((node) => node.request_id === request_id);
}

/** What was read, with the questions that were accepted while it was being read. */
function withNewer(read: Tree, before: Tree, now: Tree): Tree {
  const added = Object.values(now.nodes).filter(({ id }) => !before.nodes[id] && !read.nodes[id]);
  if (added.length === 0) return read;
  const nodes = { ...read.nodes };
  for (const node of added) nodes[node.id] = node;
  return { ...read, nodes, current: now.current };
}

function withQuestion(
  tree: Tree,
  outgoing: Outgoing,
  accepted: AcceptedRequest,
  fresh: boolean,
): Tree {
  if (tree.nodes[accepted.message_id]) return tree;
  if (!fresh && tree.load !== "ready") return tree;
  const { chat_id, request_id, user_message_id, message_id } = accepted;
  const created_at = new Date().toISOString();
  const common = { chat_id, request_id, created_at };
  const parent_id = outgoing.from_root ? null : (outgoing.parent_id ?? tree.current);
  const { content } = outgoing;
  const question = { ...common, id: user_message_id, parent_id, role: "user" as const, content };
  const role = "assistant" as const;
  const answer = { ...common, id: message_id, parent_id: user_message_id, role, content: "" };
  return {
    load: "ready",
    problem: null,
    nodes: { ...tree.nodes, [user_message_id]: question, [message_id]: answer },
    current: message_id,
  };
}
