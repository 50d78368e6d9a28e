-- Several API processes behind one address: who is there, which of them leads, and which has each rig.

-- address: where its siblings reach it.
CREATE TABLE api_processes (
    process_id UUID PRIMARY KEY,
    address TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- One row. The term goes up with every process that takes the lead: what an earlier one still means to send is refused by
-- it. process_id: null while the new leader is not ready yet.
CREATE TABLE api_lead (
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    term BIGINT NOT NULL,
    process_id UUID,
    taken_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
INSERT INTO api_lead (term) VALUES (0);

-- The API process that gives a rig its jobs; null for none.
ALTER TABLE rigs ADD COLUMN home UUID;
