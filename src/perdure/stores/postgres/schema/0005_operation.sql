-- What operators need: how requests ended, counted for ever, and the trace that a request belongs to.

-- Several rows count the same, so that ends in different processes do not wait for each other.
CREATE TABLE tally (
    agent_id text NOT NULL,
    status   text NOT NULL,
    code     text NOT NULL,                          -- of the error; '' without one
    shard    integer NOT NULL,
    count    bigint NOT NULL,
    PRIMARY KEY (agent_id, status, code, shard)
) WITH (fillfactor = 50);
INSERT INTO tally
SELECT agent_id, status, coalesce(error::json ->> 'code', ''), 0, count(*)
FROM request WHERE completed_at IS NOT NULL GROUP BY 1, 2, 3;

ALTER TABLE request ADD COLUMN traceparent text;     -- W3C trace context of the call that asked
