/** The nouns of the page: what the server sends (generated types) and how the page holds it. */

/** A request's state. `unknown` is the page's own: it has not been told yet; never an end. */
export type Status = "queued" | "streaming" | "completed" | "failed" | "cancelled" | "unknown";

export interface Agent {
  id: string;
  name: string;
  description: string;
  examples: string[];
}

export interface Chat {
  id: string;
  agent_id: string;
  title: string;
  created_at: string;
  updated_at: string;
  revision: number;
  pinned: boolean;
  archived: boolean;
  deleted: boolean;
  current_message_id: string | null;
  running_request_id: string | null;
  queued: number;
  unread: boolean;
  last_status: Status | null;
}

export interface Failure {
  code: string;
  message: string;
}

export interface Usage {
  input_tokens?: number;
  output_tokens?: number;
  total_tokens?: number;
  [further: string]: unknown;
}

/** A piece of a message item. */
export interface TextPart {
  type: "output_text";
  text: string;
  annotations?: Annotation[];
}
export interface RefusalPart {
  type: "refusal";
  refusal: string;
}
export type ContentPart = TextPart | RefusalPart;

/** A citation; `url` is untrusted. */
export interface Annotation {
  type: string;
  url?: string;
  title?: string;
  start_index?: number;
  end_index?: number;
  [further: string]: unknown;
}

type ItemStatus = "in_progress" | "completed" | "incomplete";

export interface MessageItem {
  type: "message";
  id: string;
  status: ItemStatus;
  role: "assistant";
  content: ContentPart[];
}
export interface ReasoningItem {
  type: "reasoning";
  id: string;
  status?: ItemStatus;
  summary: { type: "summary_text"; text: string }[];
}
export interface CallItem {
  type: "function_call";
  id: string;
  call_id: string;
  name: string;
  /** JSON text; may be half while `in_progress`, and broken when `incomplete`. */
  arguments: string;
  status?: ItemStatus;
}
export interface CallOutputItem {
  type: "function_call_output";
  id: string;
  call_id: string;
  output: string;
  status?: ItemStatus;
}
/** An item of an answer (Open Responses). Settled items keep their identity: memoise by reference. */
export type Item = MessageItem | ReasoningItem | CallItem | CallOutputItem;

/** An answer as far as the page knows it, and how its request stands. */
export interface Transcript {
  request_id: string;
  status: Status;
  /** Number of the last applied event; -1 = none yet. */
  sequence_number: number;
  /** The items that count. A new array with each change; untouched items keep their identity. */
  items: readonly Item[];
  error: Failure | null;
  incomplete_reason: string | null;
  usage: Usage | null;
  trace_id: string | null;
  /** 0 = not begun; > 1 = it was begun again. */
  attempt: number;
  /** Why it was begun again, e.g. `worker_lost`; null when it was not, or the page did not see it. */
  reason: string | null;
  /** When each item began and ended, unix ms, by item id; absent for what the page did not see happen. */
  seen: Readonly<Record<string, { began: number; ended?: number }>>;
  queue_position: number | null;
}

/** A node of a chat's tree. */
export interface MessageNode {
  id: string;
  chat_id: string;
  parent_id: string | null;
  role: "user" | "assistant" | "system" | "developer" | "tool";
  /** A question's text; for answers see the transcript of `request_id`. */
  content: string;
  created_at: string;
  /** The request whose question or answer this is. */
  request_id: string | null;
}

/** A message of the active branch, with its place among its siblings. */
export interface BranchMessage extends MessageNode {
  /** Ids of this message and its alternatives, oldest first; length 1 = no other branch. */
  siblings: readonly string[];
}

/** A question that waits on the server for the chat's earlier answers. */
export interface QueuedQuestion {
  message_id: string;
  request_id: string;
  content: string;
  /** Only the first can be sent now. */
  first: boolean;
}

/** A question on its way to the server; kept in the browser until the server has it. */
export interface Outgoing {
  /** Idempotency key; the same over all tries. */
  key: string;
  /** null = begins a new chat. */
  chat_id: string | null;
  agent_id: string | null;
  content: string;
  parent_id: string | null;
  from_root: boolean;
  if_busy: "queue" | "interrupt";
  state: "sending" | "waiting" | "failed";
  /** Why it `failed`, in plain words; while `waiting` it is tried again by itself. */
  problem: string | null;
  created_at: number;
}

/** Everything the conversation shows of one chat. */
export interface ChatView {
  /** null while unknown, and for a new chat. */
  chat: Chat | null;
  load: "loading" | "ready" | "missing" | "failed";
  /** Why loading `failed`. */
  problem: string | null;
  /** The active branch without queued questions that wait for an earlier answer of this chat. */
  messages: readonly BranchMessage[];
  queued: readonly QueuedQuestion[];
  outgoing: readonly Outgoing[];
  /** The request to stop: the one that runs, else the first that waits; null = idle. */
  active_request_id: string | null;
}

export type Connection = "connecting" | "live" | "reconnecting" | "offline";

export interface Notice {
  id: string;
  kind: "finished" | "failed" | "info";
  text: string;
  /** Opens this chat when clicked. */
  chat_id?: string;
  /** A button, e.g. Undo. */
  action?: { label: string; run: () => void };
}

export interface Config {
  version: string;
  auth_mode: string;
  default_agent_id: string;
  keepalive_s: number;
  limits: {
    message_bytes_max: number;
    body_bytes_max: number;
    running_per_user_max: number;
    queued_per_user_max: number;
  };
  /** Address of a trace's page with `{trace_id}` in it; "" = none. */
  trace_url: string;
  /** Whether the server can read agents' traces. */
  traces: boolean;
  ui: { name: string; logo_url: string; accent: string; remote_images: boolean };
}

/** One request whole, for the details panel. */
export interface RequestDetails {
  id: string;
  agent_id: string;
  status: Status;
  attempt: number;
  attempts_max: number;
  sequence_number: number;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
  usage: Usage | null;
  trace_id: string | null;
  error: Failure | null;
  incomplete_reason: string | null;
  events_pruned: boolean;
}

export interface Preferences {
  theme: "system" | "light" | "dark";
  notifications: boolean;
  sound: boolean;
  /** Enter sends, Shift+Enter breaks the line; else the other way round. */
  enter_sends: boolean;
  /** Show pictures of other servers, where this server allows it; else links to them. */
  remote_images: boolean;
  /** Show the list of chats beside the conversation, where there is room. */
  sidebar: boolean;
}

/** What a person can do. Each returns at once or when the server has agreed; none throws: what went
 * wrong becomes a notice, or stays on the outgoing question. */
export interface Actions {
  /** Ask. `chat_id` null begins a new chat and opens it when the server has it. */
  send(question: {
    chat_id: string | null;
    content: string;
    agent_id?: string | null;
    if_busy?: "queue" | "interrupt";
  }): void;
  /** Try an outgoing question again, or take it back (returns its text for the composer). */
  resend(key: string): void;
  takeBack(key: string): string;
  stop(request_id: string): Promise<void>;
  /** A sibling answer to the same question: after a failure (retry) or for another try (regenerate). */
  retry(request_id: string): Promise<void>;
  regenerate(request_id: string): Promise<void>;
  /** Ask `content` instead of a sent question: a new branch. */
  edit(message_id: string, content: string): void;
  /** Ask the agent to go on where an answer broke off. */
  continueAnswer(chat_id: string): void;
  editQueued(message_id: string, content: string): Promise<boolean>;
  removeQueued(message_id: string): Promise<void>;
  /** Stop the running answer so that the first waiting question begins. */
  sendNow(message_id: string): Promise<void>;
  /** Show the branch that leads through this message. */
  selectBranch(chat_id: string, message_id: string): Promise<void>;
  giveFeedback(request_id: string, value: boolean, rationale?: string): Promise<boolean>;

  rename(chat_id: string, title: string): Promise<void>;
  pin(chat_id: string, pinned: boolean): Promise<void>;
  archive(chat_id: string, archived: boolean): Promise<void>;
  /** Delete with undo: gone from the page at once, from the server some seconds later. */
  remove(chat_id: string): void;
  reload(chat_id: string): Promise<void>;

  notify(notice: Omit<Notice, "id">): void;
  dismiss(notice_id: string): void;
  setPreferences(changes: Partial<Preferences>): void;
}

/** A step that an agent recorded of an answer; contents are JSON text. */
export interface Span {
  id: string;
  parent_id: string | null;
  name: string;
  kind: string;
  status: string;
  offset_ms: number;
  duration_ms: number | null;
  inputs: string | null;
  outputs: string | null;
  error: string | null;
}

/** An agent's own record of an answer. */
export interface Trace {
  trace_id: string;
  state: string;
  duration_ms: number | null;
  spans: Span[];
  spans_left_out: number;
  link: string | null;
}
