-- What lets people and programs in, and the list of everyone's requests for those who look after it.

CREATE INDEX request_everyone ON request (created_at DESC, id DESC);

CREATE TABLE credential (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,                    -- token | session
    user_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    digest     TEXT NOT NULL,                    -- SHA-256 of the secret, which is nowhere here
    created_at REAL NOT NULL,
    expires_at REAL,
    used_at    REAL,
    details    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_person ON credential (kind, user_id);
CREATE INDEX credential_expired ON credential (expires_at) WHERE kind = 'session';
