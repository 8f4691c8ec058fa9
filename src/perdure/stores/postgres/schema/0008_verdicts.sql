-- Verdicts that are to be told to the tracker, now or later.

ALTER TABLE feedback ADD COLUMN author text;                    -- the person's name for others
ALTER TABLE feedback ADD COLUMN tries integer NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN due_at double precision;                    -- NULL = it was told, or never will be
CREATE INDEX feedback_due ON feedback (due_at) WHERE due_at IS NOT NULL;
