-- What operators are told of. Kept, so that a restart says nothing twice; `told_at` and `end_told_at` make it the outbox.

CREATE TABLE alerts (
    alert_id     UUID PRIMARY KEY,
    key          TEXT NOT NULL,          -- what it is about: the same trouble has the same key
    kind         TEXT NOT NULL,
    message      TEXT NOT NULL,
    raised_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    told_at      TIMESTAMPTZ,
    resolved_at  TIMESTAMPTZ,            -- never, for what cannot be undone
    end_told_at  TIMESTAMPTZ
);
-- One at a time of a key.
CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE resolved_at IS NULL;
CREATE INDEX alerts_untold ON alerts (alert_id) WHERE told_at IS NULL OR (resolved_at IS NOT NULL AND end_told_at IS NULL);
