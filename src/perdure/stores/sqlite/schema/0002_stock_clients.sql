-- What stock clients need kept beside the log: their parameters, their input as given, their own
-- names of chats, where an upstream's log stands, and the webhooks that wait for delivery.

ALTER TABLE request ADD COLUMN params TEXT NOT NULL DEFAULT '{}';      -- parameters of `/v1/responses`
ALTER TABLE request ADD COLUMN transient INTEGER NOT NULL DEFAULT 0;   -- removed with its chat when it has ended
ALTER TABLE request ADD COLUMN notify INTEGER NOT NULL DEFAULT 0;      -- its end is told by webhook
ALTER TABLE request ADD COLUMN upstream TEXT;                          -- where the upstream's own log stands
CREATE INDEX request_transient ON request (completed_at) WHERE transient = 1 AND completed_at IS NOT NULL;

CREATE TABLE input (
    request_id TEXT PRIMARY KEY,
    items      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE chat ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE chat ADD COLUMN client_id TEXT;                            -- the name that a client made up for it
CREATE UNIQUE INDEX chat_client ON chat (user_id, client_id) WHERE client_id IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE webhook (
    id           TEXT PRIMARY KEY,
    request_id   TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    type         TEXT NOT NULL,
    created_at   REAL NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       REAL,                            -- NULL = delivered, or given up
    delivered_at REAL,
    failed_at    REAL,                            -- given up: a dead letter
    error        TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_due ON webhook (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_person ON webhook (user_id, created_at DESC, id DESC);
CREATE INDEX webhook_ended ON webhook (created_at) WHERE due_at IS NULL;
