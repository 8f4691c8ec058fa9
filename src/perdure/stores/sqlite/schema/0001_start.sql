-- Everything Perdure keeps. Times are unix seconds, JSON is text, ids are opaque text.

CREATE TABLE person (
    user_id  TEXT PRIMARY KEY,
    revision INTEGER NOT NULL DEFAULT 0,         -- grows with each change of any of the person's chats
    served_at REAL NOT NULL DEFAULT 0            -- when a request of theirs was last admitted
) STRICT, WITHOUT ROWID;

CREATE TABLE chat (
    id                 TEXT PRIMARY KEY,
    user_id            TEXT NOT NULL,
    agent_id           TEXT NOT NULL,
    title              TEXT NOT NULL,
    created_at         REAL NOT NULL,
    updated_at         REAL NOT NULL,
    revision           INTEGER NOT NULL,
    pinned             INTEGER NOT NULL DEFAULT 0,
    archived           INTEGER NOT NULL DEFAULT 0,
    deleted_at         REAL,                     -- a tombstone for live lists until it is pruned
    current_message_id TEXT,                     -- leaf of the active branch
    unread             INTEGER NOT NULL DEFAULT 0,
    last_status        TEXT
) STRICT;
CREATE INDEX chat_list ON chat (user_id, archived, pinned DESC, updated_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX chat_age ON chat (updated_at) WHERE deleted_at IS NULL;
CREATE INDEX chat_tombstone ON chat (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX chat_changes ON chat (user_id, revision);

CREATE TABLE message (
    position   INTEGER PRIMARY KEY,              -- parents before children; also the row of `search`
    id         TEXT NOT NULL UNIQUE,
    chat_id    TEXT NOT NULL,
    parent_id  TEXT,
    role       TEXT NOT NULL,
    text       TEXT NOT NULL,
    parts      TEXT,
    output     TEXT,
    request_id TEXT,                             -- of an answer: the request that makes it
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX message_chat ON message (chat_id, position);
CREATE INDEX message_parent ON message (parent_id);

CREATE TABLE request (
    id                TEXT PRIMARY KEY,
    chat_id           TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    agent_id          TEXT NOT NULL,
    user_message_id   TEXT NOT NULL,
    message_id        TEXT NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('queued', 'streaming', 'completed', 'failed', 'cancelled')),
    created_at        REAL NOT NULL,
    next_sequence     INTEGER NOT NULL,          -- of what lies in `segment`; a running request has more in `journal`
    claim_id          TEXT,
    worker_id         TEXT,
    lease_until       REAL,
    attempt           INTEGER NOT NULL DEFAULT 0,
    crashes           INTEGER NOT NULL DEFAULT 0,
    requeued_for      TEXT,
    dispatched_at     REAL,
    deliveries        INTEGER NOT NULL DEFAULT 0,
    not_before        REAL,
    started_at        REAL,
    completed_at      REAL,
    trace_id          TEXT,
    error             TEXT,
    usage             TEXT,
    output            TEXT,
    incomplete_reason TEXT,
    metadata          TEXT NOT NULL DEFAULT '{}',
    events_pruned     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX request_person ON request (user_id, created_at DESC, id DESC);
CREATE INDEX request_chat ON request (chat_id, created_at, id);
CREATE INDEX request_waiting ON request (user_id, created_at, id) WHERE status = 'queued' AND dispatched_at IS NULL;
CREATE INDEX request_active ON request (status, user_id, agent_id) WHERE status IN ('queued', 'streaming');
CREATE INDEX request_active_chat ON request (chat_id, created_at, id) WHERE status IN ('queued', 'streaming');
CREATE INDEX request_ended ON request (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX request_unpruned ON request (completed_at) WHERE completed_at IS NOT NULL AND events_pruned = 0;
CREATE INDEX request_trace ON request (trace_id) WHERE trace_id IS NOT NULL;

-- A request's events first .. last, one JSON object a line. Rows never overlap.
CREATE TABLE segment (
    request_id TEXT NOT NULL,
    first      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (request_id, first)
) STRICT;

-- One row per flush: the new events of all running requests, until they lie in a segment.
CREATE TABLE journal (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE idempotency (
    user_id     TEXT NOT NULL,
    key         TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at  REAL NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_request ON idempotency (request_id);

CREATE TABLE feedback (
    request_id TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    id         TEXT NOT NULL,
    trace_id   TEXT,
    value      TEXT NOT NULL,
    rationale  TEXT,
    created_at REAL NOT NULL,
    PRIMARY KEY (request_id, user_id, name)
) STRICT, WITHOUT ROWID;

-- Full text of messages; filled from `unindexed` off the hot path, and before each search.
CREATE VIRTUAL TABLE search USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TABLE unindexed (position INTEGER PRIMARY KEY) STRICT;
