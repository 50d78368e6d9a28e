-- services/leaving.py: a farmer goes, with everything that is its own.

-- name: start_leaving
-- Touches no row of a farmer that leaves already.
UPDATE farmers SET status = 'leaving', leaving_at = now(), departed_at = NULL, leaving_retry_at = NULL
WHERE farmer_id = %(farmer_id)s AND status <> 'leaving';

-- name: select_leaving_farmers
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers WHERE status = 'leaving' AND (leaving_retry_at IS NULL OR leaving_retry_at <= now()) ORDER BY leaving_at, farmer_id;

-- name: select_leaving
-- How far a farmer is on its way out: the last time, where it left more than once.
SELECT f.status, f.leaving_at, f.departed_at, f.leaving_code AS code, f.leaving_message AS message,
       closed.transaction_hash, CASE WHEN closed.transaction_hash IS NOT NULL THEN paid.kale_stroops END AS kale_stroops,
       CASE WHEN closed.transaction_hash IS NOT NULL THEN paid.native_stroops END AS native_stroops
FROM farmers f
LEFT JOIN LATERAL (
    SELECT encode(s.transaction_hash, 'hex') AS transaction_hash
    FROM submission_items i JOIN submissions s USING (submission_id)
    WHERE i.farmer_id = f.farmer_id AND i.block_index IS NULL AND i.action = 'merge' AND i.status = 'applied'
    ORDER BY s.created_at DESC LIMIT 1) closed ON true
LEFT JOIN LATERAL (
    SELECT coalesce(sum(i.amount_stroops), 0) AS kale_stroops,
           coalesce(sum(i.native_stroops) FILTER (WHERE i.action = 'merge'), 0) AS native_stroops
    FROM submission_items i JOIN submissions s USING (submission_id)
    WHERE i.farmer_id = f.farmer_id AND i.block_index IS NULL AND i.status = 'applied' AND s.created_at >= f.leaving_at
      AND (i.action = 'merge' OR (i.action = 'payment' AND i.withdrawal_id IS NULL))) paid ON true
WHERE f.farmer_id = %(farmer_id)s;

-- name: select_to_be_passed_on
-- XLM of closed accounts of a farmer that the pool has and a contract is to have.
SELECT coalesce(sum(CASE action WHEN 'merge' THEN native_stroops ELSE -native_stroops END), 0) AS native_stroops
FROM submission_items
WHERE farmer_id = %(farmer_id)s AND status = 'applied' AND destination LIKE 'C%%' AND action IN ('merge', 'payment');

-- name: select_left_behind
-- What a farmer who leaves still has under way: transactions and withdrawals without an outcome.
SELECT (SELECT count(*) FROM submission_items WHERE farmer_id = %(farmer_id)s AND status = 'open') AS submissions,
       (SELECT count(*) FROM withdrawals WHERE farmer_id = %(farmer_id)s AND closed_at IS NULL) AS withdrawals;

-- name: select_pails_left
-- Blocks in which a farmer is planted and that are neither harvested nor given up as lost. Of one that plants itself: those
-- since `first`, the oldest whose pails live, that are not over at `current`, or were worked.
SELECT p.block_index FROM plantings p JOIN farmers f USING (farmer_id)
WHERE p.farmer_id = %(farmer_id)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
  AND (NOT f.plants_itself OR p.block_index >= %(current)s
       OR p.block_index >= %(first)s AND EXISTS (SELECT FROM works w WHERE w.block_index = p.block_index
                                                 AND w.farmer_id = p.farmer_id AND w.outcome = 'worked'))
ORDER BY p.block_index;

-- name: note_leaving
-- What a farmer waits for now, and when to look again.
UPDATE farmers SET leaving_code = %(code)s, leaving_message = %(message)s,
                   leaving_retry_at = now() + make_interval(secs => %(retry_seconds)s::float)
WHERE farmer_id = %(farmer_id)s AND status = 'leaving';

-- name: finish_leaving
UPDATE farmers SET status = 'departed', departed_at = now(), leaving_code = NULL, leaving_message = NULL
WHERE farmer_id = %(farmer_id)s AND status = 'leaving';
