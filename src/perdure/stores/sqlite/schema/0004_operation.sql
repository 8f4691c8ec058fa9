-- What operators need: how requests ended, counted for ever, and the trace that a request belongs to.

CREATE TABLE tally (
    agent_id TEXT NOT NULL,
    status   TEXT NOT NULL,
    code     TEXT NOT NULL,                        -- of the error; '' without one
    count    INTEGER NOT NULL,
    PRIMARY KEY (agent_id, status, code)
) STRICT, WITHOUT ROWID;
INSERT INTO tally
SELECT agent_id, status, coalesce(json_extract(error, '$.code'), ''), count(*)
FROM request WHERE completed_at IS NOT NULL GROUP BY 1, 2, 3;

ALTER TABLE request ADD COLUMN traceparent TEXT;   -- W3C trace context of the call that asked
