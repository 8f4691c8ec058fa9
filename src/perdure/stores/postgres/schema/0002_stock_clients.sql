-- What stock clients need kept beside the log: their parameters, their input as given, their own
-- names of chats, where an upstream's log stands, and the webhooks that wait for delivery.

ALTER TABLE request ADD COLUMN params text NOT NULL DEFAULT '{}';          -- parameters of `/v1/responses`
ALTER TABLE request ADD COLUMN transient boolean NOT NULL DEFAULT false;   -- removed with its chat when it has ended
ALTER TABLE request ADD COLUMN notify boolean NOT NULL DEFAULT false;      -- its end is told by webhook
ALTER TABLE request ADD COLUMN upstream text;                              -- where the upstream's own log stands
CREATE INDEX request_transient ON request (completed_at) WHERE transient AND completed_at IS NOT NULL;

CREATE TABLE input (
    request_id text PRIMARY KEY,
    items      text NOT NULL
);

ALTER TABLE chat ADD COLUMN metadata text NOT NULL DEFAULT '{}';
ALTER TABLE chat ADD COLUMN client_id text;                                -- the name that a client made up for it
CREATE UNIQUE INDEX chat_client ON chat (user_id, client_id) WHERE client_id IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE webhook (
    id           text PRIMARY KEY,
    request_id   text NOT NULL,
    user_id      text NOT NULL,
    type         text NOT NULL,
    created_at   double precision NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    due_at       double precision,                -- NULL = delivered, or given up
    delivered_at double precision,
    failed_at    double precision,                -- given up: a dead letter
    error        text
);
CREATE INDEX webhook_due ON webhook (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_person ON webhook (user_id, created_at DESC, id DESC);
CREATE INDEX webhook_ended ON webhook (created_at) WHERE due_at IS NULL;
