/** The two ways to hold a line to the server: a WebSocket, and its twin in server-sent events.
 *
 * A line tells messages until it closes; a close never means that an answer is done. */

import { framesOf } from "./frames";
import { at } from "./root";

export interface Heard {
  message(message: LiveMessage): void;
  /** Anything at all came, also what keeps the line alive. */
  sign(): void;
  closed(): void;
}

export interface LiveMessage {
  op?: string;
  revision?: number;
  request_id?: string;
  event?: unknown;
  chat?: unknown;
  error?: { code?: string; status?: number };
}

export interface Cursors {
  since: number | null;
  /** `{request id: number of the last event one has}`. */
  attached: ReadonlyMap<string, number>;
}

export interface Line {
  /** False: this line cannot be told; it has to be opened anew with other cursors. */
  attach(request_id: string, after: number): boolean;
  detach(request_id: string): void;
  close(): void;
}

export type OpenLine = (cursors: Cursors, heard: Heard) => Line;

/** Open a WebSocket to `/api/live`. */
export const openSocket: OpenLine = (cursors, heard) => {
  const url = new URL(at("/api/live"), location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (cursors.since !== null) url.searchParams.set("since", String(cursors.since));
  const socket = new WebSocket(url);
  let open = true;
  const tell = (message: object) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  const end = () => {
    if (!open) return;
    open = false;
    heard.closed();
  };
  socket.onopen = () => {
    for (const [request_id, after] of cursors.attached) tell({ op: "attach", request_id, after });
  };
  socket.onmessage = (frame) => {
    if (!open) return;
    heard.sign();
    heard.message(JSON.parse(frame.data));
  };
  socket.onclose = end;
  socket.onerror = end;
  return {
    attach: (request_id, after) => {
      tell({ op: "attach", request_id, after });
      return true;
    },
    detach: (request_id) => tell({ op: "detach", request_id }),
    close: () => {
      open = false;
      socket.close();
    },
  };
};

/** Open `GET /api/live` as a stream, for networks that block WebSockets. */
export const openStream: OpenLine = (cursors, heard) => {
  const stop = new AbortController();
  const query = new URLSearchParams();
  if (cursors.since !== null) query.set("since", String(cursors.since));
  for (const [request_id, after] of cursors.attached)
    query.append("attach", `${request_id}:${after}`);
  follow(at(`/api/live?${query}`), stop.signal, heard).then(
    () => stop.signal.aborted || heard.closed(),
    () => stop.signal.aborted || heard.closed(),
  );
  return { attach: () => false, detach: () => {}, close: () => stop.abort() };
};

async function follow(url: string, signal: AbortSignal, heard: Heard): Promise<void> {
  const response = await fetch(url, { headers: { Accept: "text/event-stream" }, signal });
  if (!response.ok || !response.body) throw new Error(`no stream: ${response.status}`);
  const signs = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, out) {
      heard.sign();
      out.enqueue(piece);
    },
  });
  for await (const frame of framesOf(response.body.pipeThrough(signs))) {
    if (signal.aborted) return;
    heard.message(JSON.parse(frame));
  }
}
