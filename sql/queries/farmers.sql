-- Farmers by themselves: signing in, their blocks, withdrawing, leaving.

-- name: insert_signin
-- Uses a challenge; touches no row where it was used before.
INSERT INTO signins (challenge_hash, wallet, expires_at)
VALUES (%(challenge_hash)s, %(wallet)s, %(expires_at)s) ON CONFLICT DO NOTHING;

-- name: delete_old_signins
DELETE FROM signins WHERE expires_at < now() - interval '1 hour';

-- name: select_own_keys
-- A page of the keys that may be used, of one role and subject, the newest first.
SELECT key_id, role, subject_id, subject_wallet, label, created_at, expires_at
FROM api_keys
WHERE role = %(role)s AND subject_id IS NOT DISTINCT FROM %(subject_id)s
  AND subject_wallet IS NOT DISTINCT FROM %(subject_wallet)s
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND (%(after)s::uuid IS NULL OR key_id < %(after)s)
ORDER BY key_id DESC
LIMIT %(limit)s;

-- name: revoke_own_key
-- Ends a key of this role and subject from a time on. Touches no row where there is no such key that still may be used.
UPDATE api_keys SET revoked_at = CASE WHEN %(seconds)s::float = 0 THEN now() END,
                    expires_at = least(expires_at, now() + make_interval(secs => %(seconds)s::float))
WHERE key_id = %(key_id)s AND role = %(role)s AND subject_id IS NOT DISTINCT FROM %(subject_id)s
  AND subject_wallet IS NOT DISTINCT FROM %(subject_wallet)s AND revoked_at IS NULL;

-- name: select_open_poolers
-- A page of the poolers that farmers may register with by themselves.
SELECT p.pooler_id, p.name, p.max_farmers,
       (SELECT count(*) FROM farmers f WHERE f.pooler_id = p.pooler_id AND f.status <> 'departed') AS farmers
FROM poolers p
WHERE p.open AND p.status = 'active' AND (%(after)s::uuid IS NULL OR p.pooler_id > %(after)s)
ORDER BY p.pooler_id
LIMIT %(limit)s;

-- name: select_pooler_is_open
SELECT 1 AS open FROM poolers WHERE pooler_id = %(pooler_id)s AND open AND status = 'active';

-- name: count_farmers_of_wallet
SELECT count(*) AS farmers FROM farmers WHERE payout_wallet = %(payout_wallet)s AND status <> 'departed';

-- name: select_farmers_of_wallet
-- A page of a payout wallet's farmers, oldest first.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers
WHERE payout_wallet = %(payout_wallet)s AND (%(after)s::uuid IS NULL OR farmer_id > %(after)s)
ORDER BY farmer_id
LIMIT %(limit)s;

-- name: update_stake_percentage
-- Touches no row of a farmer that leaves.
UPDATE farmers SET stake_percentage = %(stake_percentage)s
WHERE farmer_id = %(farmer_id)s AND status IN ('registered', 'active');

-- name: select_farmer_blocks
-- A farmer's blocks below `before` and not below `oldest`, the newest first: what was planted, worked and harvested,
-- the forecast against what was received, what is owed for a lost stake, and the last failure.
SELECT i.block_index, b.started_at,
       p.stake_stroops, encode(p.transaction_hash, 'hex') AS plant_transaction,
       w.nonce, encode(w.hash, 'hex') AS hash, w.zeros, w.gap, encode(w.transaction_hash, 'hex') AS work_transaction,
       h.forecast_stroops, h.reward_stroops, h.reward_stroops - h.forecast_stroops AS difference_stroops,
       encode(h.transaction_hash, 'hex') AS harvest_transaction,
       c.stake_stroops + c.forecast_stroops AS owed_stroops, c.fault AS owed_by, c.code AS owed_code,
       encode(c.paid_transaction, 'hex') AS owed_paid_transaction,
       x.code AS failed_code, x.fault AS failed_fault, x.message AS failed_message
FROM (SELECT block_index FROM
        ((SELECT DISTINCT block_index FROM plantings
          WHERE farmer_id = %(farmer_id)s AND block_index < %(before)s AND block_index >= %(oldest)s
          ORDER BY block_index DESC LIMIT %(limit)s)
         UNION
         (SELECT DISTINCT block_index FROM works
          WHERE farmer_id = %(farmer_id)s AND block_index < %(before)s AND block_index >= %(oldest)s
          ORDER BY block_index DESC LIMIT %(limit)s)
         UNION
         (SELECT DISTINCT block_index FROM harvests
          WHERE farmer_id = %(farmer_id)s AND block_index < %(before)s AND block_index >= %(oldest)s
          ORDER BY block_index DESC LIMIT %(limit)s)) every
      ORDER BY block_index DESC LIMIT %(limit)s) i
LEFT JOIN blocks b USING (block_index)
LEFT JOIN plantings p ON p.block_index = i.block_index AND p.farmer_id = %(farmer_id)s AND p.outcome = 'planted'
LEFT JOIN LATERAL (
    SELECT nonce, hash, zeros, gap, transaction_hash FROM works
    WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome = 'worked'
    ORDER BY zeros DESC LIMIT 1) w ON true
LEFT JOIN harvests h ON h.block_index = i.block_index AND h.farmer_id = %(farmer_id)s AND h.outcome = 'harvested'
LEFT JOIN pooler_compensations c ON c.block_index = i.block_index AND c.farmer_id = %(farmer_id)s AND c.standing = 'owed'
LEFT JOIN LATERAL (
    SELECT code, fault, message FROM (
        SELECT event_id, code, fault, message FROM plantings
        WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome = 'failed'
        UNION ALL
        SELECT event_id, code, fault, message FROM works
        WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome <> 'worked'
        UNION ALL
        SELECT event_id, code, fault, message FROM harvests
        WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome = 'failed') failures
    ORDER BY event_id DESC LIMIT 1) x ON true
ORDER BY i.block_index DESC;

------------------------------------------------------------------------------------------------------------------------
-- Withdrawals

-- name: insert_withdrawal
-- Nothing where the farmer leaves, or has used this idempotency key.
INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination)
SELECT %(withdrawal_id)s, farmer_id, %(idempotency_key)s, %(asset)s, %(amount_stroops)s, payout_wallet
FROM farmers WHERE farmer_id = %(farmer_id)s AND status IN ('registered', 'active') FOR SHARE
ON CONFLICT DO NOTHING;

-- name: select_withdrawal
-- By its id, or by the farmer's idempotency key.
SELECT w.withdrawal_id, w.farmer_id, w.asset, w.amount_stroops, w.destination, w.created_at,
       CASE WHEN i.status = 'applied' THEN 'paid' WHEN w.code IS NOT NULL THEN 'failed' ELSE 'open' END AS status,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger, w.code, w.message
FROM withdrawals w
LEFT JOIN submission_items i ON i.withdrawal_id = w.withdrawal_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id)
WHERE w.withdrawal_id = %(withdrawal_id)s OR (w.farmer_id = %(farmer_id)s AND w.idempotency_key = %(idempotency_key)s);

-- name: select_withdrawals
-- A page of a farmer's withdrawals, the newest first.
SELECT w.withdrawal_id, w.farmer_id, w.asset, w.amount_stroops, w.destination, w.created_at,
       CASE WHEN i.status = 'applied' THEN 'paid' WHEN w.code IS NOT NULL THEN 'failed' ELSE 'open' END AS status,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger, w.code, w.message
FROM withdrawals w
LEFT JOIN submission_items i ON i.withdrawal_id = w.withdrawal_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id)
WHERE w.farmer_id = %(farmer_id)s AND (%(after)s::uuid IS NULL OR w.withdrawal_id < %(after)s)
ORDER BY w.withdrawal_id DESC
LIMIT %(limit)s;

-- name: select_unclosed_withdrawals
-- Withdrawals that are not known to be paid or given up.
SELECT withdrawal_id, farmer_id FROM withdrawals WHERE closed_at IS NULL ORDER BY withdrawal_id;

-- name: close_withdrawal
-- With a code: it is given up, unless a transaction of it is on its way or applied.
UPDATE withdrawals w SET closed_at = now(), code = %(code)s, message = %(message)s
WHERE withdrawal_id = %(withdrawal_id)s AND closed_at IS NULL
  AND (%(code)s::text IS NULL OR NOT EXISTS (SELECT FROM submission_items i WHERE i.withdrawal_id = w.withdrawal_id
                                             AND i.status IN ('open', 'applied')));

------------------------------------------------------------------------------------------------------------------------
-- Leaving

-- name: start_leaving
-- Touches no row of a farmer that leaves already.
UPDATE farmers SET status = 'leaving', leaving_at = now(), departed_at = NULL, leaving_retry_at = NULL
WHERE farmer_id = %(farmer_id)s AND status <> 'leaving';

-- name: select_leaving_farmers
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers WHERE status = 'leaving' AND (leaving_retry_at IS NULL OR leaving_retry_at <= now()) ORDER BY leaving_at, farmer_id;

-- name: select_leaving
-- How far a farmer is on its way out.
SELECT f.status, f.leaving_at, f.departed_at, f.leaving_code AS code, f.leaving_message AS message,
       encode(s.transaction_hash, 'hex') AS transaction_hash, i.amount_stroops AS kale_stroops
FROM farmers f
LEFT JOIN submission_items i ON i.farmer_id = f.farmer_id AND i.action = 'merge' AND i.status = 'applied'
LEFT JOIN submissions s USING (submission_id)
WHERE f.farmer_id = %(farmer_id)s;

-- name: select_left_behind
-- What a farmer who leaves still has under way: transactions and withdrawals without an outcome.
SELECT (SELECT count(*) FROM submission_items WHERE farmer_id = %(farmer_id)s AND status = 'open') AS submissions,
       (SELECT count(*) FROM withdrawals WHERE farmer_id = %(farmer_id)s AND closed_at IS NULL) AS withdrawals;

-- name: select_pails_left
-- Blocks in which a farmer is planted and that are neither harvested nor given up as lost.
SELECT p.block_index FROM plantings p
WHERE p.farmer_id = %(farmer_id)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
ORDER BY p.block_index;

-- name: note_leaving
-- What a farmer waits for now, and when to look again.
UPDATE farmers SET leaving_code = %(code)s, leaving_message = %(message)s,
                   leaving_retry_at = now() + make_interval(secs => %(retry_seconds)s::float)
WHERE farmer_id = %(farmer_id)s AND status = 'leaving';

-- name: finish_leaving
UPDATE farmers SET status = 'departed', departed_at = now(), leaving_code = NULL, leaving_message = NULL
WHERE farmer_id = %(farmer_id)s AND status = 'leaving';
