-- Farmers who sign in, withdraw and leave; what operators switch, and what they did.

-- The key that signs sign-in challenges (SEP-10) is one of the pool's accounts, though it is never on the ledger.
ALTER TABLE accounts DROP CONSTRAINT accounts_purpose_check;
ALTER TABLE accounts ADD CONSTRAINT accounts_purpose_check CHECK (purpose IN ('pool', 'channel', 'sign-in'));

-- Challenges that were answered: each gives one token.
CREATE TABLE signins (
    challenge_hash hash32 PRIMARY KEY,
    wallet         TEXT NOT NULL,
    expires_at     TIMESTAMPTZ NOT NULL
);
CREATE INDEX signins_expired ON signins (expires_at);

-- open: farmers may register with it by themselves.
ALTER TABLE poolers ADD COLUMN open BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE poolers ADD COLUMN planting_paused BOOLEAN NOT NULL DEFAULT false;

-- What holds for the whole pool.
CREATE TABLE pool_switches (
    single          BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    planting_paused BOOLEAN NOT NULL DEFAULT false
);
INSERT INTO pool_switches DEFAULT VALUES;

------------------------------------------------------------------------------------------------------------------------
-- Money that goes back to farmers

-- What a farmer who leaves still waits for: NULL when it has not been looked at, or waits for nothing.
ALTER TABLE farmers ADD COLUMN leaving_at       TIMESTAMPTZ;
ALTER TABLE farmers ADD COLUMN leaving_code     TEXT;
ALTER TABLE farmers ADD COLUMN leaving_message  TEXT;
ALTER TABLE farmers ADD COLUMN leaving_retry_at TIMESTAMPTZ;  -- not tried before: the network refused the last pay-out

-- A farmer's wish. Whether it was paid is told by the journal: an applied item names it. `code`: why it never will be.
CREATE TABLE withdrawals (
    withdrawal_id   UUID PRIMARY KEY,
    farmer_id       UUID NOT NULL REFERENCES farmers,
    idempotency_key TEXT NOT NULL,
    asset           TEXT NOT NULL CHECK (asset IN ('KALE', 'XLM')),
    amount_stroops  stroops NOT NULL CHECK (amount_stroops > 0),
    destination     TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    closed_at       TIMESTAMPTZ,
    code            TEXT,
    message         TEXT,
    UNIQUE (farmer_id, idempotency_key),
    CHECK (code IS NULL OR closed_at IS NOT NULL)
);
CREATE INDEX withdrawals_farmer ON withdrawals (farmer_id, withdrawal_id);
CREATE INDEX withdrawals_open ON withdrawals (withdrawal_id) WHERE closed_at IS NULL;

ALTER TABLE submission_items ADD COLUMN withdrawal_id UUID REFERENCES withdrawals;
-- A withdrawal is paid once.
CREATE UNIQUE INDEX submission_items_withdrawal ON submission_items (withdrawal_id) WHERE status IN ('open', 'applied');
CREATE INDEX submission_items_open_farmer ON submission_items (farmer_id) WHERE status = 'open';

-- Who leaves is planted for no more, not even by a call that began before: the journal's entry is refused.
CREATE FUNCTION refuse_leaving() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_is TEXT;
BEGIN
    SELECT status INTO now_is FROM farmers WHERE farmer_id = NEW.farmer_id FOR SHARE;
    IF now_is IN ('leaving', 'departed') THEN
        RAISE EXCEPTION 'farmer % leaves', NEW.farmer_id USING ERRCODE = 'unique_violation', CONSTRAINT = 'farmer_leaves';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_leaving BEFORE INSERT ON submission_items FOR EACH ROW
    WHEN (NEW.action = 'plant') EXECUTE FUNCTION refuse_leaving();

------------------------------------------------------------------------------------------------------------------------
-- Operators

-- What operators did, for good.
CREATE TABLE operator_actions (
    action_id  UUID PRIMARY KEY,
    key_id     UUID NOT NULL REFERENCES api_keys,
    action     TEXT NOT NULL,
    subject_id UUID,
    detail     JSONB NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Failures of a pooler, the newest first.
CREATE INDEX plantings_failed ON plantings (pooler_id, event_id) WHERE outcome <> 'planted';
CREATE INDEX works_failed ON works (pooler_id, event_id) WHERE outcome <> 'worked';
CREATE INDEX harvests_failed ON harvests (pooler_id, event_id) WHERE outcome <> 'harvested';
CREATE INDEX pooler_compensations_page ON pooler_compensations (pooler_id, compensation_id);
