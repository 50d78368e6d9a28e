-- What the services read and write: poolers, farmers, the journal, the events, compensation.

-- name: touch_pooler
-- A pooler by its id, seen now. Written at most every ten seconds.
WITH seen AS (
    UPDATE poolers SET last_seen_at = now()
    WHERE pooler_id = %(pooler_id)s AND (last_seen_at IS NULL OR last_seen_at < now() - interval '10 seconds')
)
SELECT pooler_id, name, max_farmers, status, open,
       planting_paused OR (SELECT planting_paused FROM pool_switches) AS planting_paused, created_at, last_seen_at
FROM poolers WHERE pooler_id = %(pooler_id)s;

------------------------------------------------------------------------------------------------------------------------
-- The pool's own accounts

-- name: select_accounts
SELECT account_id, purpose, name, address, secret_sealed FROM accounts ORDER BY name;

-- name: insert_account
INSERT INTO accounts (account_id, purpose, name, address, secret_sealed, master_key_id)
VALUES (%(account_id)s, %(purpose)s, %(name)s, %(address)s, %(secret_sealed)s, %(master_key_id)s);

------------------------------------------------------------------------------------------------------------------------
-- Farmers, with their sealed secrets

-- name: count_farmers
-- How many farmers a pooler has that have not left.
SELECT count(*) AS farmers FROM farmers WHERE pooler_id = %(pooler_id)s AND status <> 'departed';

-- name: select_wallet_owner
-- The farmer that the pool keeps this wallet for.
SELECT farmer_id FROM farmers WHERE custodial_wallet = %(custodial_wallet)s;

-- name: insert_farmer
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, stake_percentage,
                     metadata)
VALUES (%(farmer_id)s, %(pooler_id)s, %(custodial_wallet)s, %(secret_sealed)s, %(master_key_id)s, %(payout_wallet)s,
        %(stake_percentage)s, %(metadata)s)
RETURNING farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
          activated_at, secret_sealed;

-- name: select_registered_farmers
-- Those who wait for funds or a trustline.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers WHERE status = 'registered' ORDER BY registered_at, farmer_id;

-- name: select_farmers_of_pooler
-- Whom a pooler may plant for (active), and work and harvest for (all that have not departed).
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers
WHERE pooler_id = %(pooler_id)s AND status = ANY(%(statuses)s)
ORDER BY registered_at, farmer_id;

-- name: select_farmers_page
-- A page of farmers, oldest first, after a farmer; of one pooler and of one status unless these are null.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers
WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(after)s::uuid IS NULL OR farmer_id > %(after)s)
ORDER BY farmer_id
LIMIT %(limit)s;

-- name: select_farmer_of_any_pooler
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers WHERE farmer_id = %(farmer_id)s;

-- name: activate_farmer
UPDATE farmers SET status = 'active', activated_at = now() WHERE farmer_id = %(farmer_id)s AND status = 'registered';

------------------------------------------------------------------------------------------------------------------------
-- The journal

-- name: insert_submission
INSERT INTO submissions (submission_id, action, pooler_id, source_account, sequence, transaction_hash, envelope_xdr,
                         valid_until, attempt)
VALUES (%(submission_id)s, %(action)s, %(pooler_id)s, %(source_account)s, %(sequence)s, %(transaction_hash)s,
        %(envelope_xdr)s, %(valid_until)s, %(attempt)s);

-- name: insert_submission_item
INSERT INTO submission_items (submission_id, item_number, action, block_index, farmer_id, amount_stroops, forecast_stroops,
                              destination, nonce, hash, zeros, withdrawal_id)
VALUES (%(submission_id)s, %(item_number)s, %(action)s, %(block_index)s, %(farmer_id)s, %(amount_stroops)s,
        %(forecast_stroops)s, %(destination)s, %(nonce)s, %(hash)s, %(zeros)s, %(withdrawal_id)s);

-- name: close_submission
-- Touches no row where it was closed before.
UPDATE submissions
SET status = %(status)s, ledger = %(ledger)s, result_code = %(result_code)s, fee_stroops = %(fee_stroops)s, closed_at = now()
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

-- name: select_sequence_taken
-- Another transaction of the same account that a ledger took with the same sequence number.
SELECT submission_id FROM submissions
WHERE source_account = %(source_account)s AND sequence = %(sequence)s AND submission_id <> %(submission_id)s
  AND status = 'applied'
LIMIT 1;

-- name: select_wallets
SELECT farmer_id, custodial_wallet FROM farmers WHERE farmer_id = ANY(%(farmer_ids)s);

-- name: select_submission_items
SELECT block_index, farmer_id, amount_stroops, destination, nonce, hash, zeros, forecast_stroops, withdrawal_id
FROM submission_items WHERE submission_id = %(submission_id)s ORDER BY item_number;

-- name: select_open_item
-- Whether an intent for this (action, block, farmer) is open.
SELECT submission_id FROM submission_items
WHERE action = %(action)s AND block_index = %(block_index)s AND farmer_id = %(farmer_id)s AND status = 'open';

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
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, code, message, fault)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, %(outcome)s, %(nonce)s, %(hash)s, %(zeros)s,
        %(code)s, %(message)s, %(fault)s);

-- name: insert_harvest
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops,
                      forecast_stroops, submission_id, transaction_hash, ledger)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'harvested', %(reward_stroops)s, %(stake_stroops)s,
        %(forecast_stroops)s, %(submission_id)s, %(transaction_hash)s, %(ledger)s)
ON CONFLICT DO NOTHING;

-- name: insert_failed_harvest
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, code, message, fault)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'failed', %(code)s, %(message)s, %(fault)s);

-- name: select_planted
-- Who is planted in a block.
SELECT p.farmer_id, f.custodial_wallet, p.stake_stroops, encode(p.transaction_hash, 'hex') AS transaction_hash, p.ledger
FROM plantings p JOIN farmers f USING (farmer_id)
WHERE p.block_index = %(block_index)s AND p.pooler_id = %(pooler_id)s AND p.outcome = 'planted'
ORDER BY p.created_at, p.farmer_id;

-- name: select_worked
-- Every work that was applied in a block.
SELECT farmer_id, nonce, hash, zeros, gap, encode(transaction_hash, 'hex') AS transaction_hash, ledger
FROM works
WHERE block_index = %(block_index)s AND pooler_id = %(pooler_id)s AND outcome = 'worked'
ORDER BY created_at;

-- name: select_harvested
-- Every harvest of a range of blocks, both ends included.
SELECT block_index, farmer_id, reward_stroops, stake_stroops, forecast_stroops,
       encode(transaction_hash, 'hex') AS transaction_hash
FROM harvests
WHERE pooler_id = %(pooler_id)s AND block_index BETWEEN %(oldest_index)s AND %(newest_index)s AND outcome = 'harvested';

-- name: select_unharvested
-- What was planted since a block and neither harvested nor given up as lost.
SELECT p.block_index, p.farmer_id
FROM plantings p
WHERE p.pooler_id = %(pooler_id)s AND p.block_index >= %(oldest_index)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id);

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
-- Compensation

-- name: select_work_attempts
-- What was tried to work a pail, in order.
SELECT outcome, code, fault FROM works
WHERE block_index = %(block_index)s AND farmer_id = %(farmer_id)s AND code IS DISTINCT FROM 'not-best'
ORDER BY created_at;

-- name: select_best_zeros
-- The best that anybody found for a farmer in a block.
SELECT coalesce(max(zeros), 0) AS zeros FROM shares
WHERE block_index = %(block_index)s AND farmer_id = %(farmer_id)s;

-- name: select_unworked_beside
-- The other pails of a farmer's block that were never worked, with the most zeros found for each.
SELECT p.stake_stroops AS stake, coalesce(
    (SELECT max(zeros) FROM shares WHERE block_index = p.block_index AND farmer_id = p.farmer_id), 0) AS zeros
FROM plantings p
WHERE p.block_index = %(block_index)s AND p.farmer_id <> %(farmer_id)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM works w
                  WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked');

-- name: insert_compensation
-- Touches no row where it was recorded before.
INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops,
                                  forecast_stroops, standing)
VALUES (%(compensation_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, %(fault)s, %(code)s, %(stake_stroops)s,
        %(forecast_stroops)s, %(standing)s)
ON CONFLICT (block_index, farmer_id) DO NOTHING;

-- name: select_forgotten
-- What was planted up to a block and neither harvested nor given up as lost.
SELECT p.block_index, p.pooler_id, p.farmer_id
FROM plantings p
WHERE p.block_index <= %(newest_index)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
ORDER BY p.block_index
LIMIT 1000;

-- name: select_never_worked
-- What was planted up to a block, never worked, and neither looked at since nor given up as lost. Nothing is in flight.
SELECT p.block_index, p.pooler_id, p.farmer_id
FROM plantings p JOIN farmers f USING (farmer_id)
WHERE p.block_index BETWEEN %(oldest_index)s AND %(newest_index)s AND p.outcome = 'planted'
  AND f.status IN ('active', 'leaving')
  AND NOT EXISTS (SELECT FROM works w
                  WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked')
  AND NOT EXISTS (SELECT FROM harvests h WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id)
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
  AND NOT EXISTS (SELECT FROM submission_items i
                  WHERE i.block_index = p.block_index AND i.farmer_id = p.farmer_id AND i.action = 'work'
                    AND i.status = 'open')
ORDER BY p.block_index
LIMIT 1000;

------------------------------------------------------------------------------------------------------------------------
-- Health

-- name: select_nothing
-- Whether the database answers.
SELECT 1 AS answer;

-- name: select_worker_counts
-- Searchers that should be there, and how many of them were not heard of for too long.
SELECT count(*) AS workers,
       count(*) FILTER (WHERE last_seen_at < now() - make_interval(secs => %(silent_seconds)s)) AS silent,
       coalesce(sum(hashes_per_second), 0) AS hashes_per_second
FROM workers WHERE status = 'alive';
