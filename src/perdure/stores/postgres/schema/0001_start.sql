-- Everything Perdure keeps. Times are unix seconds of the server's clock, JSON is text, ids are opaque.

CREATE TABLE person (
    user_id  text PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 0           -- grows with each change of any of the person's chats
);

-- When a request of a person was last admitted; written under the admission lock only.
CREATE TABLE turn (
    user_id   text PRIMARY KEY,
    served_at double precision NOT NULL
);

CREATE TABLE chat (
    id                 text PRIMARY KEY,
    user_id            text NOT NULL,
    agent_id           text NOT NULL,
    title              text NOT NULL,
    created_at         double precision NOT NULL,
    updated_at         double precision NOT NULL,
    revision           bigint NOT NULL,
    pinned             boolean NOT NULL DEFAULT false,
    archived           boolean NOT NULL DEFAULT false,
    deleted_at         double precision,         -- a tombstone for live lists until it is pruned
    current_message_id text,                     -- leaf of the active branch
    unread             boolean NOT NULL DEFAULT false,
    last_status        text
);
CREATE INDEX chat_list ON chat (user_id, archived, pinned DESC, updated_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX chat_age ON chat (updated_at) WHERE deleted_at IS NULL;
CREATE INDEX chat_tombstone ON chat (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX chat_changes ON chat (user_id, revision);

CREATE TABLE message (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- parents before children
    id         text NOT NULL UNIQUE,
    chat_id    text NOT NULL,
    parent_id  text,
    role       text NOT NULL,
    text       text NOT NULL,
    parts      text,
    output     text,
    request_id text,                             -- of an answer: the request that makes it
    created_at double precision NOT NULL,
    words      tsvector                          -- its distinct words, folded by the program
);
CREATE INDEX message_chat ON message (chat_id, position);
CREATE INDEX message_parent ON message (parent_id);
CREATE INDEX message_words ON message USING gin (words);

-- Half of each page stays free: a running request's row is updated with each flush, in place.
CREATE TABLE request (
    id                text PRIMARY KEY,
    chat_id           text NOT NULL,
    user_id           text NOT NULL,
    agent_id          text NOT NULL,
    user_message_id   text NOT NULL,
    message_id        text NOT NULL,
    status            text NOT NULL CHECK (status IN ('queued', 'streaming', 'completed', 'failed', 'cancelled')),
    created_at        double precision NOT NULL,
    next_sequence     integer NOT NULL,
    claim_id          text,
    worker_id         text,
    lease_until       double precision,
    attempt           integer NOT NULL DEFAULT 0,
    crashes           integer NOT NULL DEFAULT 0,
    requeued_for      text,
    dispatched_at     double precision,
    deliveries        integer NOT NULL DEFAULT 0,
    not_before        double precision,
    started_at        double precision,
    completed_at      double precision,
    trace_id          text,
    error             text,
    usage             text,
    output            text,
    incomplete_reason text,
    metadata          text NOT NULL DEFAULT '{}',
    events_pruned     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX request_person ON request (user_id, created_at DESC, id DESC);
CREATE INDEX request_chat ON request (chat_id, created_at, id);
CREATE INDEX request_active ON request (status, user_id, agent_id) WHERE status IN ('queued', 'streaming');
CREATE INDEX request_active_chat ON request (chat_id, created_at, id) WHERE status IN ('queued', 'streaming');
CREATE INDEX request_ended ON request (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX request_unpruned ON request (completed_at) WHERE completed_at IS NOT NULL AND NOT events_pruned;
CREATE INDEX request_trace ON request (trace_id) WHERE trace_id IS NOT NULL;

-- A request's events first .. last, one JSON object a line: one row for each request and flush.
CREATE TABLE segment (
    request_id text NOT NULL,
    last       integer NOT NULL,
    first      integer NOT NULL,
    data       bytea NOT NULL,
    PRIMARY KEY (request_id, last)
);

CREATE TABLE idempotency (
    user_id     text NOT NULL,
    key         text NOT NULL,
    request_id  text NOT NULL,
    fingerprint text NOT NULL,
    created_at  double precision NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_request ON idempotency (request_id);

CREATE TABLE feedback (
    request_id text NOT NULL,
    user_id    text NOT NULL,
    name       text NOT NULL,
    id         text NOT NULL,
    trace_id   text,
    value      text NOT NULL,
    rationale  text,
    created_at double precision NOT NULL,
    PRIMARY KEY (request_id, user_id, name)
);

-- One row, written by whoever proves that it can write.
CREATE TABLE probe (
    id integer PRIMARY KEY,
    at double precision NOT NULL
);
