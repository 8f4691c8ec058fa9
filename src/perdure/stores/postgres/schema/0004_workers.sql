-- Which workers are there, and how much each can run at once: no more than that is admitted.

CREATE TABLE worker (
    id    text PRIMARY KEY,
    slots integer NOT NULL,
    until double precision NOT NULL                      -- unix time at which it counts no more
);
