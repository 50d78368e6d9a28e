-- When the pool itself was away: what was lost then is nobody else's fault.

-- The API says every few seconds that it is there and can write.
CREATE TABLE pool_presence (
    single  BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    seen_at TIMESTAMPTZ
);
INSERT INTO pool_presence DEFAULT VALUES;

CREATE TABLE pool_absences (
    begun_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL CHECK (ended_at > begun_at)
);
CREATE INDEX pool_absences_ended ON pool_absences (ended_at);
