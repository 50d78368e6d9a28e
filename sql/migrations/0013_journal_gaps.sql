-- Sequence numbers of our accounts that a ledger has and the journal has not.

-- Found: the database was put back to an older state. Nothing is paid out until an operator has acknowledged each. Those
-- of archived entries brought back, which is not journalled, are known when they are written.
CREATE TABLE journal_gaps (
    gap_id          UUID PRIMARY KEY,
    account         TEXT NOT NULL,
    first_sequence  NUMERIC(20, 0) NOT NULL,
    last_sequence   NUMERIC(20, 0) NOT NULL CHECK (last_sequence >= first_sequence),
    found_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    acknowledged_at TIMESTAMPTZ
);
CREATE INDEX journal_gaps_open ON journal_gaps (gap_id) WHERE acknowledged_at IS NULL;
CREATE INDEX journal_gaps_account ON journal_gaps (account, last_sequence);
CREATE INDEX submissions_sequence ON submissions (source_account, sequence);
