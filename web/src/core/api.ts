/** The server's calls, typed by its own OpenAPI document; every failure is one kind of error. */

import type * as sent from "./api.gen";
import { framesOf } from "./frames";
import type { Agent, Config, RequestDetails } from "./types";

const TIMEOUT_MS = 30_000;

/** Why a call did not work, in words for a person. */
export class CallError extends Error {
  constructor(
    /** HTTP status; 0 = no answer came. */
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retry_after_ms: number | null = null,
  ) {
    super(message);
  }

  /** Whether the same call may work by itself in a moment. */
  get passing(): boolean {
    if (this.status === 401) return true; // once one has signed in again
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export interface Question {
  chat_id: string | null;
  agent_id: string | null;
  content: string;
  parent_id: string | null;
  from_root: boolean;
  if_busy: "queue" | "interrupt";
}

type Fetch = typeof fetch;

/** All calls of the page. */
export class Api {
  constructor(private readonly fetch: Fetch = (...given) => globalThis.fetch(...given)) {}

  ask(question: Question, key: string): Promise<sent.AcceptedRequest> {
    const { chat_id, agent_id, content, parent_id, from_root, if_busy } = question;
    const body = {
      message: content,
      if_busy,
      ...(chat_id ? { chat_id } : {}),
      ...(agent_id && !chat_id ? { agent_id } : {}),
      ...(parent_id ? { parent_id } : {}),
      ...(from_root ? { from_root } : {}),
    };
    return this.call("POST", "/api/invoke_endpoint", body, { "Idempotency-Key": key });
  }

  request(id: string): Promise<RequestDetails> {
    return this.call<sent.AgentRequest>("GET", `/api/requests/${id}`);
  }
  status(id: string): Promise<sent.RequestStatus> {
    return this.call("GET", `/api/requests/${id}/status`);
  }
  waiting(): Promise<sent.RequestPage> {
    return this.call("GET", "/api/requests?status=queued&limit=100");
  }
  cancel(id: string): Promise<sent.AgentRequest> {
    return this.call("POST", `/api/requests/${id}/cancel`);
  }
  retry(id: string): Promise<sent.AcceptedRequest> {
    return this.call("POST", `/api/requests/${id}/retry`);
  }

  chats(page: { q?: string; archived?: boolean; cursor?: string | null; limit?: number } = {}) {
    const query = new URLSearchParams({ limit: String(page.limit ?? 50) });
    if (page.q) query.set("q", page.q);
    if (page.archived) query.set("archived", "true");
    if (page.cursor) query.set("cursor", page.cursor);
    return this.call<sent.ChatPage>("GET", `/api/chats?${query}`);
  }
  chat(id: string): Promise<sent.Chat> {
    return this.call("GET", `/api/chats/${id}`);
  }
  tree(id: string): Promise<sent.MessageTree> {
    return this.call("GET", `/api/chats/${id}/messages`);
  }
  change(id: string, changes: Partial<sent.ChatChanges>): Promise<sent.Chat> {
    return this.call("PATCH", `/api/chats/${id}`, changes);
  }
  remove(id: string): Promise<void> {
    return this.call("DELETE", `/api/chats/${id}`);
  }
  /** Remove a chat while the page goes away; nobody waits for the answer. */
  removeLeaving(id: string): Promise<unknown> {
    const init = { method: "DELETE", keepalive: true };
    return this.fetch(`/api/chats/${id}`, init).catch(() => {});
  }
  markRead(id: string): Promise<sent.Chat> {
    return this.call("POST", `/api/chats/${id}/read`);
  }

  editMessage(id: string, content: string): Promise<sent.Message> {
    return this.call("PATCH", `/api/messages/${id}`, { content });
  }
  removeMessage(id: string): Promise<void> {
    return this.call("DELETE", `/api/messages/${id}`);
  }

  assess(request_id: string, value: boolean, rationale?: string): Promise<sent.Feedback> {
    const body = { request_id, name: "thumbs", value, ...(rationale ? { rationale } : {}) };
    return this.call("POST", "/api/log_assessment", body);
  }
  feedback(request_id: string): Promise<sent.FeedbackList> {
    return this.call("GET", `/api/requests/${request_id}/feedback`);
  }

  /** The steps that the agent recorded of an answer. */
  trace(request_id: string): Promise<sent.Trace> {
    return this.call("GET", `/api/requests/${request_id}/trace`);
  }

  /** The events of a request so far, without waiting for more. */
  async events(id: string, signal: AbortSignal): Promise<unknown[]> {
    const { sequence_number } = await this.status(id);
    const headers = { Accept: "text/event-stream" };
    const response = await this.answered(`/api/requests/${id}/stream`, { headers, signal });
    if (!response.ok || !response.body) throw await problemOf(response);
    const events: unknown[] = [];
    const frames = framesOf(response.body);
    for await (const frame of frames) {
      events.push(JSON.parse(frame));
      if (events.length > sequence_number) break;
    }
    return events;
  }

  agents(): Promise<{ agents: Agent[]; default_agent_id: string }> {
    return this.call<sent.Agents>("GET", "/api/agents");
  }
  config(): Promise<Config> {
    return this.call<sent.Config>("GET", "/api/config");
  }
  me(): Promise<sent.Me> {
    return this.call("GET", "/api/me");
  }

  tokens(): Promise<sent.Tokens> {
    return this.call("GET", "/api/tokens");
  }
  makeToken(wanted: sent.NewToken): Promise<sent.MadeToken> {
    return this.call("POST", "/api/tokens", wanted);
  }
  revokeToken(id: string): Promise<void> {
    return this.call("DELETE", `/api/tokens/${id}`);
  }

  /** A call of the operator page. */
  admin<T>(method: "GET" | "POST", path: string): Promise<T> {
    return this.call(method, `/api/admin${path}`);
  }

  private async call<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const response = await this.answered(path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw await problemOf(response);
    return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
  }

  private async answered(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetch(path, init);
    } catch {
      throw new CallError(0, "unreachable", "The server cannot be reached.");
    }
  }
}

/** Put what went wrong in words, whatever was thrown. */
export function problemText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function problemOf(response: Response): Promise<CallError> {
  const given = await response.json().catch(() => null);
  const code = given?.code ?? `http_${response.status}`;
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const wait = Number.isFinite(seconds) ? seconds * 1000 : null;
  return new CallError(response.status, code, sentenceOf(response.status, given), wait);
}

function sentenceOf(status: number, given: { detail?: string; title?: string } | null): string {
  if (status === 401) return "You are no longer signed in. Reload this page to sign in again.";
  return given?.detail ?? given?.title ?? `The server answered with an error (${status}).`;
}
