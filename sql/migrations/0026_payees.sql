-- Miners without a trustline are paid by claimable balances where they wish it; what is owed for lost stakes is paid from the
-- treasury; and miners' payout wallets are sealed.

ALTER TABLE submissions DROP CONSTRAINT submissions_action_check;
ALTER TABLE submissions ADD CONSTRAINT submissions_action_check CHECK (action IN
    ('plant', 'work', 'harvest', 'payment', 'trustline', 'create_account', 'merge', 'collect', 'payout', 'take_back', 'compensate'));

-- Whether the miner wants a claimable balance where its wallet cannot be paid yet.
ALTER TABLE miners ADD COLUMN claimable BOOLEAN NOT NULL DEFAULT false;
-- What says that the wallets in this row are those that the API wrote: made with the master key.
ALTER TABLE miners ADD COLUMN payout_seal BYTEA;
CREATE INDEX miners_payout_wallet ON miners (payout_wallet);

-- A payout that is put down to be claimed before then, and taken back afterwards. NULL: it is paid.
ALTER TABLE payouts ADD COLUMN claimable_until TIMESTAMPTZ;

-- What was put down on the ledger: until its miner has claimed it, or it was taken back.
CREATE TABLE claimable_balances (
    balance_id  hash32 PRIMARY KEY,
    payout_id   UUID NOT NULL UNIQUE REFERENCES payouts,
    made_ledger BIGINT,
    made_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    claimed_at  TIMESTAMPTZ,
    taken_at    TIMESTAMPTZ,
    CHECK (claimed_at IS NULL OR taken_at IS NULL)
);
CREATE INDEX claimable_balances_open ON claimable_balances (payout_id) WHERE claimed_at IS NULL AND taken_at IS NULL;

ALTER TABLE submission_items ADD COLUMN balance_id hash32 REFERENCES claimable_balances;
-- A balance is taken back once.
CREATE UNIQUE INDEX submission_items_balance ON submission_items (balance_id) WHERE status IN ('open', 'applied');
-- A lost stake is compensated once.
CREATE UNIQUE INDEX submission_items_compensation ON submission_items (block_index, farmer_id)
    WHERE action = 'compensate' AND status IN ('open', 'applied');

-- An operator's yes; and why it was not paid lately.
ALTER TABLE pooler_compensations ADD COLUMN approved_at TIMESTAMPTZ;
ALTER TABLE pooler_compensations ADD COLUMN wait_code TEXT;
ALTER TABLE pooler_compensations ADD COLUMN wait_message TEXT;

-- How payouts and withdrawals stand, by their transactions.
CREATE VIEW payout_states AS
SELECT p.payout_id, p.miner_id, p.amount_stroops, p.destination, p.memo, p.reason, p.idempotency_key, p.created_at,
       CASE WHEN p.code IS NOT NULL THEN 'failed'
            WHEN c.balance_id IS NOT NULL AND c.claimed_at IS NULL THEN 'claimable'
            WHEN i.status = 'applied' THEN 'paid' ELSE 'open' END AS status,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger, p.code, p.message,
       '00000000' || encode(c.balance_id, 'hex') AS balance_id, p.claimable_until
FROM payouts p
LEFT JOIN submission_items i ON i.payout_id = p.payout_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id)
LEFT JOIN claimable_balances c ON c.payout_id = p.payout_id;

CREATE VIEW withdrawal_states AS
SELECT w.withdrawal_id, w.farmer_id, w.idempotency_key, w.asset, w.amount_stroops, w.destination, w.created_at,
       CASE WHEN i.status = 'applied' THEN 'paid' WHEN w.code IS NOT NULL THEN 'failed' ELSE 'open' END AS status,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger, w.code, w.message
FROM withdrawals w
LEFT JOIN submission_items i ON i.withdrawal_id = w.withdrawal_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id);
