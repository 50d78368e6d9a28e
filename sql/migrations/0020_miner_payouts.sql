-- The treasury, what farmers owe, and how miners are paid.

ALTER TABLE accounts DROP CONSTRAINT accounts_purpose_check;
ALTER TABLE accounts ADD CONSTRAINT accounts_purpose_check CHECK (purpose IN ('pool', 'channel', 'treasury', 'sign-in'));
ALTER TABLE submissions DROP CONSTRAINT submissions_action_check;
ALTER TABLE submissions ADD CONSTRAINT submissions_action_check CHECK (action IN
    ('plant', 'work', 'harvest', 'payment', 'trustline', 'create_account', 'merge', 'collect', 'payout'));

-- A block's credits are posted once: from then on they are what it says here.
CREATE TABLE block_closings (
    block_index    BIGINT PRIMARY KEY,
    fees_stroops   stroops NOT NULL,
    shared_stroops stroops NOT NULL,
    window_blocks  INTEGER NOT NULL,
    closed_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON block_closings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How a miner is paid: from which amount on (the pool's where NULL), with which memo; where it said to be paid from a time
-- on; and why it was not paid lately.
ALTER TABLE miners ADD COLUMN payout_threshold_stroops stroops CHECK (payout_threshold_stroops > 0);
ALTER TABLE miners ADD COLUMN payout_memo TEXT CHECK (octet_length(payout_memo) BETWEEN 1 AND 28);
ALTER TABLE miners ADD COLUMN next_wallet TEXT;
ALTER TABLE miners ADD COLUMN next_memo TEXT;
ALTER TABLE miners ADD COLUMN next_wallet_at TIMESTAMPTZ CHECK ((next_wallet_at IS NULL) = (next_wallet IS NULL));
ALTER TABLE miners ADD COLUMN payout_code TEXT;
ALTER TABLE miners ADD COLUMN payout_message TEXT;
ALTER TABLE miners ADD COLUMN payout_retry_at TIMESTAMPTZ;

-- A payout that was begun. Whether it was paid is told by the journal: an applied item names it. `code`: why it never was,
-- and the amount was due again.
CREATE TABLE payouts (
    payout_id       UUID PRIMARY KEY,
    miner_id        UUID NOT NULL REFERENCES miners,
    amount_stroops  stroops NOT NULL CHECK (amount_stroops > 0),
    destination     TEXT NOT NULL,
    memo            TEXT,
    reason          TEXT NOT NULL CHECK (reason IN ('threshold', 'wish', 'age')),
    idempotency_key TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    closed_at       TIMESTAMPTZ,
    code            TEXT,
    message         TEXT,
    CHECK (code IS NULL OR closed_at IS NOT NULL),
    UNIQUE (miner_id, idempotency_key)
);
CREATE INDEX payouts_miner ON payouts (miner_id, payout_id);
CREATE UNIQUE INDEX payouts_open ON payouts (miner_id) WHERE closed_at IS NULL; -- one at a time

ALTER TABLE submission_items ADD COLUMN payout_id UUID REFERENCES payouts;
ALTER TABLE submission_items ADD COLUMN miner_id UUID REFERENCES miners;
-- A payout is paid once.
CREATE UNIQUE INDEX submission_items_payout ON submission_items (payout_id) WHERE status IN ('open', 'applied');
