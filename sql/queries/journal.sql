-- services/journal/: every transaction, from intent to outcome, and the append-only events that come of them.

-- name: insert_submission
-- Touches no row where this process does not lead any more; a term of null is not asked for. Until the row is committed, or
-- is not, nobody else can take the lead.
WITH lead AS (SELECT FROM api_lead WHERE term = %(term)s::bigint FOR SHARE)
INSERT INTO submissions (submission_id, action, pooler_id, source_account, sequence, transaction_hash, envelope_xdr,
                         valid_until, attempt)
SELECT %(submission_id)s, %(action)s, %(pooler_id)s, %(source_account)s, %(sequence)s, %(transaction_hash)s,
       %(envelope_xdr)s, %(valid_until)s, %(attempt)s
WHERE %(term)s::bigint IS NULL OR EXISTS (SELECT FROM lead);

-- name: insert_submission_item
INSERT INTO submission_items (submission_id, item_number, action, block_index, farmer_id, amount_stroops, forecast_stroops,
                              destination, nonce, hash, zeros, withdrawal_id, asset, native_stroops, payout_id, miner_id, balance_id)
VALUES (%(submission_id)s, %(item_number)s, %(action)s, %(block_index)s, %(farmer_id)s, %(amount_stroops)s,
        %(forecast_stroops)s, %(destination)s, %(nonce)s, %(hash)s, %(zeros)s, %(withdrawal_id)s, %(asset)s,
        %(native_stroops)s, %(payout_id)s, %(miner_id)s, %(balance_id)s);

-- name: close_submission
-- Touches no row where it was closed before. What an account that is not ours paid for (payer) cost us nothing.
UPDATE submissions
SET status = %(status)s, ledger = %(ledger)s, result_code = %(result_code)s, closed_at = now(),
    fee_stroops = CASE WHEN paid.by_us THEN %(fee_stroops)s ELSE 0 END,
    sponsored_stroops = CASE WHEN NOT paid.by_us THEN %(fee_stroops)s::bigint END,
    submitter = CASE WHEN %(fee_stroops)s::bigint IS NULL THEN NULL WHEN paid.by_us THEN 'direct' ELSE 'relayer' END
FROM (SELECT %(payer)s::text IS NULL OR EXISTS (SELECT FROM accounts WHERE address = %(payer)s) OR EXISTS (
          SELECT FROM submissions WHERE submission_id = %(submission_id)s AND source_account = %(payer)s) AS by_us) paid
WHERE submission_id = %(submission_id)s AND status = 'open';

-- name: close_submission_item
UPDATE submission_items SET status = %(status)s
WHERE submission_id = %(submission_id)s AND item_number = %(item_number)s;

-- name: select_open_submissions
SELECT submission_id, action, pooler_id, source_account, sequence, transaction_hash, envelope_xdr, valid_until, created_at
FROM submissions WHERE status = 'open' ORDER BY created_at;

-- name: select_open_submission
SELECT submission_id, action, pooler_id, source_account, sequence, transaction_hash, envelope_xdr, valid_until, created_at
FROM submissions WHERE submission_id = %(submission_id)s AND status = 'open';

-- name: select_submission_items
SELECT i.block_index, i.farmer_id, i.amount_stroops, i.destination, i.nonce, i.hash, i.zeros, i.forecast_stroops,
       i.withdrawal_id, i.asset, i.native_stroops, i.action, i.payout_id, i.miner_id, p.claimable_until AS until, i.balance_id
FROM submission_items i LEFT JOIN payouts p USING (payout_id)
WHERE i.submission_id = %(submission_id)s ORDER BY i.item_number;

-- name: select_open_item
-- Whether an intent for this (action, block, farmer) is open.
SELECT submission_id FROM submission_items
WHERE action = %(action)s AND block_index = %(block_index)s AND farmer_id = %(farmer_id)s AND status = 'open';

-- name: select_open_works
-- Works of a block that are sent, or about to be, and not settled.
SELECT DISTINCT submission_id FROM submission_items
WHERE action = 'work' AND block_index = %(block_index)s AND status = 'open';

------------------------------------------------------------------------------------------------------------------------
-- What the RPC server has forgotten

-- name: select_sequence_taken
-- Another transaction of the same account that a ledger took with the same sequence number.
SELECT submission_id FROM submissions
WHERE source_account = %(source_account)s AND sequence = %(sequence)s AND submission_id <> %(submission_id)s
  AND (status = 'applied' OR (status = 'failed' AND ledger IS NOT NULL))
LIMIT 1;

-- name: select_wallets
SELECT farmer_id, custodial_wallet FROM farmers WHERE farmer_id = ANY(%(farmer_ids)s);

------------------------------------------------------------------------------------------------------------------------
-- What this database does not have

-- name: select_accounts_of_ours
-- Every account that transactions of ours are made from. One of the sign-in key is never on the ledger.
SELECT address FROM accounts WHERE purpose <> 'sign-in'
UNION
SELECT custodial_wallet FROM farmers WHERE status <> 'departed' AND NOT plants_itself;

-- name: select_highest_sequences
-- The highest sequence number that each account may have used, by the journal and by what is known to be missing; 0 for
-- none. One that was refused or has expired used none.
SELECT a.account, coalesce(greatest(
    (SELECT max(s.sequence) FROM submissions s WHERE s.source_account = a.account
     AND (s.status IN ('open', 'applied') OR (s.status = 'failed' AND (s.ledger IS NOT NULL OR s.result_code IS NULL)))),
    (SELECT max(g.last_sequence) FROM journal_gaps g WHERE g.account = a.account)), 0) AS sequence
FROM unnest(%(accounts)s::text[]) AS a(account);

-- name: insert_gap
-- Nothing where the same is known.
INSERT INTO journal_gaps (gap_id, account, first_sequence, last_sequence)
SELECT %(gap_id)s, %(account)s, %(first_sequence)s, %(last_sequence)s
WHERE NOT EXISTS (SELECT FROM journal_gaps WHERE account = %(account)s AND last_sequence >= %(last_sequence)s);

-- name: insert_known_gap
INSERT INTO journal_gaps (gap_id, account, first_sequence, last_sequence, acknowledged_at)
VALUES (%(gap_id)s, %(account)s, %(first_sequence)s, %(last_sequence)s, now());

-- name: select_open_gaps
-- What nobody has looked at yet, and how many of its transactions were imported since.
SELECT g.gap_id, g.account, g.first_sequence, g.last_sequence, g.found_at,
       (SELECT count(DISTINCT s.sequence) FROM submissions s WHERE s.source_account = g.account
        AND s.sequence BETWEEN g.first_sequence AND g.last_sequence AND s.status IN ('applied', 'failed')) AS imported
FROM journal_gaps g WHERE g.acknowledged_at IS NULL ORDER BY g.gap_id;

-- name: acknowledge_gap
UPDATE journal_gaps SET acknowledged_at = now() WHERE gap_id = %(gap_id)s AND acknowledged_at IS NULL;

-- name: select_last_ledger
-- The last ledger that this database has something of.
SELECT coalesce(max(ledger), 1) AS ledger FROM submissions;

-- name: select_payers
-- Who pays for our transactions.
SELECT address FROM accounts WHERE purpose <> 'sign-in' ORDER BY address;

-- name: select_known_transactions
SELECT transaction_hash FROM submissions WHERE transaction_hash = ANY(%(transaction_hashes)s);

-- name: select_sequence_known
-- Whether the journal has what a ledger took, or may have taken, with this sequence number: under whatever hash.
SELECT submission_id FROM submissions
WHERE source_account = %(source_account)s AND sequence = %(sequence)s
  AND (status IN ('open', 'applied') OR (status = 'failed' AND ledger IS NOT NULL))
LIMIT 1;

-- name: select_owners
-- Whose these wallets are.
SELECT custodial_wallet AS wallet, farmer_id, pooler_id FROM farmers WHERE custodial_wallet = ANY(%(wallets)s);

-- name: select_fitting_withdrawal
-- The oldest withdrawal of a farmer that a payment may have been for: of the same amount, and with none on its way.
SELECT w.withdrawal_id FROM withdrawals w
WHERE w.farmer_id = %(farmer_id)s AND w.asset = %(asset)s AND w.amount_stroops = %(amount_stroops)s
  AND w.destination = %(destination)s AND w.closed_at IS NULL
  AND NOT EXISTS (SELECT FROM submission_items i WHERE i.withdrawal_id = w.withdrawal_id AND i.status IN ('open', 'applied'))
ORDER BY w.withdrawal_id LIMIT 1;

-- name: select_paid_miner
-- Whom a payment of the treasury may have paid: a payout of the same amount that is under way, else whose wallet it is.
SELECT m.miner_id, p.payout_id FROM miners m
LEFT JOIN payouts p ON p.miner_id = m.miner_id AND p.closed_at IS NULL AND p.amount_stroops = %(amount_stroops)s
    AND p.destination = %(destination)s AND p.claimable_until IS NOT DISTINCT FROM %(until)s
    AND NOT EXISTS (SELECT FROM submission_items i WHERE i.payout_id = p.payout_id AND i.status IN ('open', 'applied'))
WHERE p.payout_id IS NOT NULL OR m.payout_wallet = %(destination)s
ORDER BY p.payout_id NULLS LAST, m.miner_id LIMIT 1;

-- name: insert_found_payout
-- A payout that this database did not have: what a ledger has put down for a miner.
INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, reason, claimable_until, closed_at)
VALUES (%(payout_id)s, %(miner_id)s, %(amount_stroops)s, %(destination)s, 'wish', %(until)s, now());

-- name: select_claimable
-- A claimable balance of ours.
SELECT p.amount_stroops, p.miner_id FROM claimable_balances c JOIN payouts p USING (payout_id) WHERE c.balance_id = %(balance_id)s;

------------------------------------------------------------------------------------------------------------------------
-- What follows from payments

-- name: select_source
-- The account and sequence number that a transaction is made with.
SELECT source_account, sequence FROM submissions WHERE submission_id = %(submission_id)s;

-- name: insert_claimable
INSERT INTO claimable_balances (balance_id, payout_id, made_ledger) VALUES (%(balance_id)s, %(payout_id)s, %(ledger)s)
ON CONFLICT DO NOTHING;

-- name: take_claimable_back
-- What was put down is in the treasury again, and due again; its miner is told, and has to wish for another.
WITH taken AS (
    UPDATE claimable_balances SET taken_at = now()
    WHERE balance_id = %(balance_id)s AND claimed_at IS NULL AND taken_at IS NULL
    RETURNING payout_id
), given_up AS (
    UPDATE payouts p SET closed_at = coalesce(p.closed_at, now()), code = %(code)s, message = %(message)s
    FROM taken WHERE p.payout_id = taken.payout_id
    RETURNING p.payout_id, p.miner_id, p.amount_stroops
), told AS (
    UPDATE miners m SET claimable = false, payout_code = %(code)s, payout_message = %(message)s,
                        payout_retry_at = now() + interval '1 hour'
    FROM given_up WHERE m.miner_id = given_up.miner_id
)
SELECT payout_id, miner_id, amount_stroops FROM given_up;

-- name: note_compensation_paid
UPDATE pooler_compensations
SET paid_transaction = %(transaction_hash)s, paid_at = now(), wait_code = NULL, wait_message = NULL
WHERE block_index = %(block_index)s AND farmer_id = %(farmer_id)s AND paid_at IS NULL AND standing = 'owed';

------------------------------------------------------------------------------------------------------------------------
-- Events

-- name: insert_planting
INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, submission_id, transaction_hash,
                       ledger)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'planted', %(stake_stroops)s, %(submission_id)s,
        %(transaction_hash)s, %(ledger)s)
ON CONFLICT DO NOTHING;

-- name: insert_failed_planting
INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, code, message, fault)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'failed', %(code)s, %(message)s, %(fault)s);

-- name: insert_work
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, submission_id,
                   transaction_hash, ledger)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'worked', %(nonce)s, %(hash)s, %(zeros)s, %(gap)s,
        %(submission_id)s, %(transaction_hash)s, %(ledger)s)
ON CONFLICT DO NOTHING;

-- name: insert_failed_work
-- outcome: refused (the submission was at fault) or failed (it could not be brought to the chain).
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, seconds_left, code,
                   message, fault)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, %(outcome)s, %(nonce)s, %(hash)s, %(zeros)s,
        %(seconds_left)s, %(code)s, %(message)s, %(fault)s);

-- name: insert_harvest
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops,
                      forecast_stroops, fee_stroops, solo, submission_id, transaction_hash, ledger)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'harvested', %(reward_stroops)s, %(stake_stroops)s,
        %(forecast_stroops)s, %(fee_stroops)s, %(solo)s, %(submission_id)s, %(transaction_hash)s, %(ledger)s)
ON CONFLICT DO NOTHING;

-- name: charge_self_planter
-- For one pail that was harvested.
UPDATE farmers SET prepaid_stroops = greatest(prepaid_stroops - price_stroops, 0)
WHERE farmer_id = %(farmer_id)s AND plants_itself;

-- name: select_planting_themselves
-- Which of these farmers do.
SELECT farmer_id FROM farmers WHERE plants_itself AND farmer_id = ANY(%(farmer_ids)s);

-- name: insert_failed_harvest
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, code, message, fault)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'failed', %(code)s, %(message)s, %(fault)s);

-- name: select_pail
-- A pail as our events tell it: planted in ledger `sequence`, gap and zeros of its best work, null without one.
SELECT p.ledger AS sequence, w.gap, p.stake_stroops AS stake, w.zeros
FROM plantings p
LEFT JOIN LATERAL (
    SELECT gap, zeros FROM works
    WHERE block_index = p.block_index AND farmer_id = p.farmer_id AND outcome = 'worked'
    ORDER BY zeros DESC LIMIT 1) w ON true
WHERE p.block_index = %(block_index)s AND p.farmer_id = %(farmer_id)s AND p.outcome = 'planted';

------------------------------------------------------------------------------------------------------------------------
-- What operators look at

-- name: select_submissions
-- A page of the journal, the newest first; of one action and of one status unless these are null.
SELECT submission_id, action, pooler_id, source_account, sequence, encode(transaction_hash, 'hex') AS transaction_hash,
       valid_until, attempt, status, ledger, result_code, fee_stroops, submitter, sponsored_stroops, created_at, closed_at
FROM submissions
WHERE (%(action)s::text IS NULL OR action = %(action)s) AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(after)s::uuid IS NULL OR submission_id < %(after)s)
ORDER BY submission_id DESC
LIMIT %(limit)s;

-- name: select_submission
SELECT submission_id, action, pooler_id, source_account, sequence, encode(transaction_hash, 'hex') AS transaction_hash,
       valid_until, attempt, status, ledger, result_code, fee_stroops, submitter, sponsored_stroops, created_at, closed_at,
       envelope_xdr
FROM submissions WHERE submission_id = %(submission_id)s;

-- name: select_submission_parts
-- What a transaction is to do, in its order.
SELECT block_index, farmer_id, amount_stroops, forecast_stroops, destination, nonce, encode(hash, 'hex') AS hash, zeros,
       withdrawal_id, status
FROM submission_items WHERE submission_id = %(submission_id)s ORDER BY item_number;

-- name: select_network_fees
-- What the network took since a time, by action and by who took it there.
SELECT action, coalesce(submitter, 'direct') AS submitter, count(*) AS transactions,
       coalesce(sum(fee_stroops), 0) AS fee_stroops, coalesce(sum(sponsored_stroops), 0) AS sponsored_stroops
FROM submissions WHERE created_at >= %(since)s AND fee_stroops IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2;
