-- What lets people and programs in, and the list of everyone's requests for those who look after it.

CREATE INDEX request_everyone ON request (created_at DESC, id DESC);

CREATE TABLE credential (
    id         text PRIMARY KEY,
    kind       text NOT NULL,                    -- token | session
    user_id    text NOT NULL,
    name       text NOT NULL,
    scopes     text NOT NULL,
    digest     text NOT NULL,                    -- SHA-256 of the secret, which is nowhere here
    created_at double precision NOT NULL,
    expires_at double precision,
    used_at    double precision,
    details    text NOT NULL
);
CREATE INDEX credential_person ON credential (kind, user_id);
CREATE INDEX credential_expired ON credential (expires_at) WHERE kind = 'session';
