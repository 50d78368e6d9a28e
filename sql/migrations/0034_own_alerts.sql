-- Farmers and miners are told of what is theirs, where each of them says.

-- One address of a farmer or a miner: Telegram's, Discord's or an ntfy topic's. `failures` in a row, and when it is tried
-- again; `trouble` says why not, in words that hold no secret.
CREATE TABLE own_alert_addresses (
    subject_id UUID PRIMARY KEY, -- farmer_id or miner_id
    role       TEXT NOT NULL CHECK (role IN ('farmer', 'miner')),
    url        TEXT NOT NULL CHECK (length(url) <= 500),
    since      TIMESTAMPTZ NOT NULL DEFAULT now(), -- of what was before nothing is told
    failures   INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    retry_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    trouble    TEXT
);

-- What is told to whom: each once. `over_at`: of what lasts, once it is over.
CREATE TABLE own_alerts (
    alert_id   UUID PRIMARY KEY,
    subject_id UUID NOT NULL REFERENCES own_alert_addresses ON DELETE CASCADE,
    kind       TEXT NOT NULL CHECK (kind IN ('stake-lost', 'out-of-xlm', 'paid', 'rig-gone')),
    key        TEXT NOT NULL,
    message    TEXT NOT NULL,
    raised_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    over_at    TIMESTAMPTZ,
    told_at    TIMESTAMPTZ,
    UNIQUE (subject_id, key)
);
CREATE INDEX own_alerts_untold ON own_alerts (subject_id, alert_id) WHERE told_at IS NULL;
CREATE INDEX own_alerts_lasting ON own_alerts (subject_id, kind) WHERE kind = 'out-of-xlm' AND over_at IS NULL;
