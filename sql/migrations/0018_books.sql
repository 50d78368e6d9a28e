-- The books: double entry, append-only, each entry chained to the one before. Whole stroops of KALE.

-- balance_stroops: debits less credits. What is on the chain (wallet, pail, treasury, claimable) stands there with its
-- amount, what belongs to somebody (farmer, miner, paying, fee-due, operator) with it negative; all together are 0.
CREATE TABLE book_accounts (
    account         TEXT PRIMARY KEY
                    CHECK (account ~ '^(wallet|pail|farmer|miner|paying|claimable|unexplained)/[0-9a-z-]+$'
                           OR account IN ('treasury', 'fee-due', 'operator', 'outside')),
    balance_stroops stroops NOT NULL DEFAULT 0
);

-- cause: what an entry is for, and no other is. note: who corrected it, and why.
CREATE TABLE transfers (
    number           BIGINT PRIMARY KEY,
    cause            TEXT NOT NULL UNIQUE,
    event            TEXT NOT NULL,
    debit            TEXT NOT NULL REFERENCES book_accounts,
    credit           TEXT NOT NULL REFERENCES book_accounts,
    amount_stroops   stroops NOT NULL CHECK (amount_stroops > 0),
    block_index      BIGINT,
    ledger           BIGINT,
    transaction_hash hash32,
    note             TEXT,
    posted_at        TIMESTAMPTZ NOT NULL,
    hash             hash32 NOT NULL,
    CHECK (debit <> credit)
);
CREATE INDEX transfers_debit ON transfers (debit, number);
CREATE INDEX transfers_credit ON transfers (credit, number);
CREATE INDEX transfers_block ON transfers (block_index, event) WHERE event IN ('fee', 'credited', 'kept');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The last entry: its number and hash.
CREATE TABLE book_head (
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    number BIGINT NOT NULL DEFAULT 0,
    hash   hash32 NOT NULL DEFAULT sha256('kalepool books')
);
INSERT INTO book_head DEFAULT VALUES;

-- How each account was found when it was held against the chain. equal_ledger: the last one in which both were the same.
-- opening: it has a past from before the books, which the first look takes in. difference_stroops: chain less books.
CREATE TABLE book_checks (
    account            TEXT PRIMARY KEY,
    equal_ledger       BIGINT,
    opening            BOOLEAN NOT NULL DEFAULT false,
    difference_stroops stroops NOT NULL DEFAULT 0,
    differs_since      TIMESTAMPTZ,
    looked_ledger      BIGINT,
    looked_at          TIMESTAMPTZ
);

-- The only way in: entries in their order, those whose cause is there already left out. Returns how many were written.
-- It runs as who owns the tables; processes may write neither entries nor balances themselves.
CREATE FUNCTION post_transfers(causes TEXT[], events TEXT[], debits TEXT[], credits TEXT[], amounts NUMERIC[],
                               blocks BIGINT[], ledgers BIGINT[], hashes BYTEA[], notes TEXT[])
RETURNS BIGINT LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head    book_head;
    written BIGINT := 0;
    at      TIMESTAMPTZ := clock_timestamp();
    line    TEXT;
BEGIN
    -- One at a time: whoever posts next sees what was posted, and its number.
    SELECT * INTO STRICT head FROM book_head FOR UPDATE;
    FOR i IN 1 .. coalesce(cardinality(causes), 0) LOOP
        CONTINUE WHEN amounts[i] = 0 OR EXISTS (SELECT FROM transfers WHERE cause = causes[i]);
        line := concat_ws('|', head.number + 1, causes[i], events[i], debits[i], credits[i], amounts[i],
                          coalesce(blocks[i]::text, ''), coalesce(ledgers[i]::text, ''), coalesce(encode(hashes[i], 'hex'), ''),
                          (extract(epoch FROM at) * 1000000)::bigint, coalesce(notes[i], ''));
        head.number := head.number + 1;
        head.hash := sha256(head.hash || convert_to(line, 'UTF8'));
        INSERT INTO book_accounts (account, balance_stroops) VALUES (debits[i], amounts[i])
        ON CONFLICT (account) DO UPDATE SET balance_stroops = book_accounts.balance_stroops + excluded.balance_stroops;
        INSERT INTO book_accounts (account, balance_stroops) VALUES (credits[i], -amounts[i])
        ON CONFLICT (account) DO UPDATE SET balance_stroops = book_accounts.balance_stroops + excluded.balance_stroops;
        INSERT INTO transfers VALUES (head.number, causes[i], events[i], debits[i], credits[i], amounts[i], blocks[i],
                                      ledgers[i], hashes[i], notes[i], at, head.hash);
        written := written + 1;
    END LOOP;
    IF written > 0 THEN
        UPDATE book_head SET number = head.number, hash = head.hash;
    END IF;
    RETURN written;
END $$;
REVOKE EXECUTE ON FUNCTION post_transfers FROM PUBLIC;

------------------------------------------------------------------------------------------------------------------------
-- The fee is part of a farmer's terms

-- Fixed when it registers. NULL for who was here before, until the API starts: then what its setting says.
ALTER TABLE farmers ADD COLUMN fee_rate NUMERIC CHECK (fee_rate BETWEEN 0 AND 1);
CREATE FUNCTION refuse_other_fee() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the fee of farmer % is fixed', NEW.farmer_id USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER refuse_other_fee BEFORE UPDATE OF fee_rate ON farmers FOR EACH ROW
    WHEN (OLD.fee_rate IS NOT NULL AND NEW.fee_rate IS DISTINCT FROM OLD.fee_rate) EXECUTE FUNCTION refuse_other_fee();
-- The pool's part of a reward, rounded down. NULL for harvests from before the books: by the terms of their block.
ALTER TABLE harvests ADD COLUMN fee_stroops stroops CHECK (fee_stroops BETWEEN 0 AND reward_stroops);

-- What a payment pays with.
ALTER TABLE submission_items ADD COLUMN asset TEXT CHECK (asset IN ('KALE', 'XLM'));
UPDATE submission_items i SET asset = w.asset FROM withdrawals w WHERE w.withdrawal_id = i.withdrawal_id;
UPDATE submission_items SET asset = 'KALE' WHERE action = 'merge';

------------------------------------------------------------------------------------------------------------------------
-- What an existing pool's events say, in the order in which it happened. What they do not say, as deposits, the first look
-- at the chain finds and names.

DO $$
DECLARE
    past RECORD;
BEGIN
    FOR past IN
        SELECT * FROM (
            SELECT created_at AS at, event_id AS id, 1 AS part, concat_ws('/', 'plant', block_index, farmer_id) AS cause,
                   'planted' AS event, 'pail/' || farmer_id AS debit, 'wallet/' || farmer_id AS credit,
                   stake_stroops AS amount, block_index, ledger, transaction_hash
            FROM plantings WHERE outcome = 'planted'
            UNION ALL
            -- A pail that was harvested was planted, whether we know of it or not.
            SELECT created_at, event_id, 1, concat_ws('/', 'plant', block_index, farmer_id), 'planted', 'pail/' || farmer_id,
                   'wallet/' || farmer_id, stake_stroops, block_index, NULL, NULL
            FROM harvests WHERE outcome = 'harvested'
            UNION ALL
            SELECT created_at, event_id, 2, concat_ws('/', 'stake', block_index, farmer_id), 'stake-back', 'wallet/' || farmer_id,
                   'pail/' || farmer_id, stake_stroops, block_index, ledger, transaction_hash
            FROM harvests WHERE outcome = 'harvested'
            UNION ALL
            SELECT created_at, event_id, 3, concat_ws('/', 'reward', block_index, farmer_id), 'rewarded', 'wallet/' || farmer_id,
                   'farmer/' || farmer_id, reward_stroops, block_index, ledger, transaction_hash
            FROM harvests WHERE outcome = 'harvested'
            UNION ALL
            SELECT h.created_at, h.event_id, 4, concat_ws('/', 'fee', h.block_index, h.farmer_id), 'fee', 'farmer/' || h.farmer_id,
                   'fee-due', floor(h.reward_stroops * t.platform_fee), h.block_index, NULL, NULL
            FROM harvests h JOIN block_terms t USING (block_index) WHERE h.outcome = 'harvested'
            UNION ALL
            SELECT c.created_at, c.compensation_id, 1, concat_ws('/', 'lost', c.block_index, c.farmer_id), 'lost',
                   'farmer/' || c.farmer_id, 'pail/' || c.farmer_id, c.stake_stroops, c.block_index, NULL, NULL
            FROM pooler_compensations c JOIN plantings p USING (block_index, farmer_id)
            WHERE c.standing = 'owed' AND p.outcome = 'planted'
            UNION ALL
            SELECT s.closed_at, s.submission_id, i.item_number, concat_ws('/', 'paid', s.submission_id, i.item_number),
                   'withdrawn', 'farmer/' || i.farmer_id, 'wallet/' || i.farmer_id, i.amount_stroops, NULL, s.ledger,
                   s.transaction_hash
            FROM submission_items i JOIN submissions s USING (submission_id)
            WHERE i.action IN ('payment', 'merge') AND i.asset = 'KALE' AND i.status = 'applied' AND i.farmer_id IS NOT NULL
            UNION ALL
            SELECT s.closed_at, s.submission_id, 1000 + i.item_number, concat_ws('/', 'got', s.submission_id, i.item_number),
                   'deposited', 'wallet/' || f.farmer_id, 'farmer/' || f.farmer_id, i.amount_stroops, NULL, s.ledger,
                   s.transaction_hash
            FROM submission_items i JOIN submissions s USING (submission_id) JOIN farmers f ON f.custodial_wallet = i.destination
            WHERE i.action IN ('payment', 'merge') AND i.asset = 'KALE' AND i.status = 'applied' AND i.farmer_id IS NOT NULL
        ) known
        ORDER BY at, id, part
    LOOP
        PERFORM post_transfers(ARRAY[past.cause], ARRAY[past.event], ARRAY[past.debit], ARRAY[past.credit],
                               ARRAY[past.amount]::numeric[], ARRAY[past.block_index], ARRAY[past.ledger],
                               ARRAY[past.transaction_hash]::bytea[], ARRAY[NULL::text]);
    END LOOP;
    INSERT INTO book_checks (account, opening) SELECT 'wallet/' || farmer_id, true FROM farmers;
END $$;
