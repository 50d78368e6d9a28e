-- What poolers see of their own results, and operators of everything.

-- name: select_pooler_summary
-- A pooler with how many farmers it has in each state, and what is owed to them and not paid.
SELECT p.pooler_id, p.name, p.max_farmers, p.status, p.open,
       p.planting_paused OR (SELECT planting_paused FROM pool_switches) AS planting_paused, p.created_at, p.last_seen_at,
       f.registered, f.active, f.leaving, f.departed, c.unpaid, c.owed_stroops, c.to_check
FROM poolers p
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'registered') AS registered, count(*) FILTER (WHERE status = 'active') AS active,
           count(*) FILTER (WHERE status = 'leaving') AS leaving, count(*) FILTER (WHERE status = 'departed') AS departed
    FROM farmers WHERE pooler_id = p.pooler_id) f
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE standing = 'owed') AS unpaid,
           coalesce(sum(stake_stroops + forecast_stroops) FILTER (WHERE standing = 'owed'), 0) AS owed_stroops,
           count(*) FILTER (WHERE standing = 'to-check') AS to_check
    FROM pooler_compensations WHERE pooler_id = p.pooler_id AND paid_at IS NULL) c
WHERE (%(pooler_id)s::uuid IS NULL OR p.pooler_id = %(pooler_id)s) AND (%(after)s::uuid IS NULL OR p.pooler_id > %(after)s)
ORDER BY p.pooler_id
LIMIT %(limit)s;

-- name: select_pooler_blocks
-- A page of a pooler's blocks, the newest first, with how much of each was done.
SELECT block_index, status, started_at, seen_at, closed_at, planted, staked_stroops, worked, best_zeros, harvested,
       rewarded_stroops, forecast_stroops
FROM block_completion
WHERE pooler_id = %(pooler_id)s AND block_index < %(before)s
ORDER BY block_index DESC
LIMIT %(limit)s;

-- name: select_failures
-- A page of a pooler's failures, the newest first.
SELECT * FROM (
    (SELECT event_id, 'plant' AS action, block_index, farmer_id, outcome, code, message, fault, NULL::numeric AS nonce, created_at
     FROM plantings
     WHERE pooler_id = %(pooler_id)s AND outcome <> 'planted' AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
       AND (%(block_index)s::bigint IS NULL OR block_index = %(block_index)s)
     ORDER BY event_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, 'work', block_index, farmer_id, outcome, code, message, fault, nonce, created_at
     FROM works
     WHERE pooler_id = %(pooler_id)s AND outcome <> 'worked' AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
       AND (%(block_index)s::bigint IS NULL OR block_index = %(block_index)s)
     ORDER BY event_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, 'harvest', block_index, farmer_id, outcome, code, message, fault, NULL, created_at
     FROM harvests
     WHERE pooler_id = %(pooler_id)s AND outcome <> 'harvested' AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
       AND (%(block_index)s::bigint IS NULL OR block_index = %(block_index)s)
     ORDER BY event_id DESC LIMIT %(limit)s)) failures
ORDER BY event_id DESC
LIMIT %(limit)s;

-- name: select_compensations
-- A page of what is owed, the newest first; of one pooler, paid or not, and of one standing, unless these are null.
SELECT compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops, forecast_stroops,
       stake_stroops + forecast_stroops AS owed_stroops, created_at, encode(paid_transaction, 'hex') AS paid_transaction, paid_at,
       standing
FROM pooler_compensations
WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
  AND (%(paid)s::boolean IS NULL OR (paid_at IS NOT NULL) = %(paid)s)
  AND (%(standing)s::text IS NULL OR standing = %(standing)s)
  AND (%(after)s::uuid IS NULL OR compensation_id < %(after)s)
ORDER BY compensation_id DESC
LIMIT %(limit)s;

------------------------------------------------------------------------------------------------------------------------
-- What operators change

-- name: insert_operator_action
INSERT INTO operator_actions (action_id, key_id, action, subject_id, detail)
VALUES (%(action_id)s, %(key_id)s, %(action)s, %(subject_id)s, %(detail)s);

-- name: update_pooler
-- Changes what is not null.
UPDATE poolers SET status = coalesce(%(status)s, status), max_farmers = coalesce(%(max_farmers)s, max_farmers),
                   open = coalesce(%(open)s, open), planting_paused = coalesce(%(planting_paused)s, planting_paused)
WHERE pooler_id = %(pooler_id)s;

-- name: select_planting_paused
-- Whether planting is paused for the whole pool.
SELECT planting_paused FROM pool_switches;

-- name: update_planting_paused
UPDATE pool_switches SET planting_paused = %(paused)s;

-- name: select_miners
-- A page of miners, oldest first.
SELECT miner_id, name, payout_wallet, status, banned_until, bans, ban_reason, created_at, last_seen_at
FROM miners
WHERE %(after)s::uuid IS NULL OR miner_id > %(after)s
ORDER BY miner_id
LIMIT %(limit)s;

-- name: select_keys
-- A page of keys, the newest first; of one role and of one subject unless these are null. Tokens that ended are left out.
SELECT key_id, role, subject_id, subject_wallet, label, created_at, expires_at, revoked_at
FROM api_keys
WHERE (%(role)s::text IS NULL OR role = %(role)s) AND (%(subject_id)s::uuid IS NULL OR subject_id = %(subject_id)s)
  AND (label <> 'sign-in' OR expires_at > now())
  AND (%(after)s::uuid IS NULL OR key_id < %(after)s)
ORDER BY key_id DESC
LIMIT %(limit)s;

-- name: select_subject_exists
-- Whether a key may speak for this farmer, miner or pooler.
SELECT CASE %(role)s::text WHEN 'farmer' THEN EXISTS (SELECT FROM farmers WHERE farmer_id = %(subject_id)s)
                           WHEN 'miner' THEN EXISTS (SELECT FROM miners WHERE miner_id = %(subject_id)s)
                           WHEN 'pooler' THEN EXISTS (SELECT FROM poolers WHERE pooler_id = %(subject_id)s)
       END AS exists;

-- name: revoke_key
-- Ends any key; nothing where there is none of this id. One that has ended stays as it is.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %(key_id)s;

-- name: select_compensation
SELECT compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops, forecast_stroops,
       stake_stroops + forecast_stroops AS owed_stroops, created_at, encode(paid_transaction, 'hex') AS paid_transaction, paid_at,
       standing
FROM pooler_compensations WHERE compensation_id = %(compensation_id)s;

-- name: pay_compensation
-- Touches no row where it was paid before, or is not owed.
UPDATE pooler_compensations SET paid_transaction = %(transaction_hash)s, paid_at = now()
WHERE compensation_id = %(compensation_id)s AND paid_at IS NULL AND standing = 'owed';

-- name: check_compensation
-- Says whether it is owed. Touches no row where that was never in question, or said before.
UPDATE pooler_compensations SET standing = %(standing)s
WHERE compensation_id = %(compensation_id)s AND standing = 'to-check';

------------------------------------------------------------------------------------------------------------------------
-- What operators look at

-- name: select_submissions
-- A page of the journal, the newest first; of one action and of one status unless these are null.
SELECT submission_id, action, pooler_id, source_account, sequence, encode(transaction_hash, 'hex') AS transaction_hash,
       valid_until, attempt, status, ledger, result_code, fee_stroops, created_at, closed_at
FROM submissions
WHERE (%(action)s::text IS NULL OR action = %(action)s) AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(after)s::uuid IS NULL OR submission_id < %(after)s)
ORDER BY submission_id DESC
LIMIT %(limit)s;

-- name: select_submission
SELECT submission_id, action, pooler_id, source_account, sequence, encode(transaction_hash, 'hex') AS transaction_hash,
       valid_until, attempt, status, ledger, result_code, fee_stroops, created_at, closed_at, envelope_xdr
FROM submissions WHERE submission_id = %(submission_id)s;

-- name: select_submission_parts
-- What a transaction is to do, in its order.
SELECT block_index, farmer_id, amount_stroops, forecast_stroops, destination, nonce, encode(hash, 'hex') AS hash, zeros,
       withdrawal_id, status
FROM submission_items WHERE submission_id = %(submission_id)s ORDER BY item_number;

-- name: select_network_fees
-- What the network took since a time, by action.
SELECT action, count(*) AS transactions, coalesce(sum(fee_stroops), 0) AS fee_stroops
FROM submissions WHERE created_at >= %(since)s AND fee_stroops IS NOT NULL GROUP BY action ORDER BY action;

-- name: select_rewards_since
-- Rewards by the platform fee of their blocks.
SELECT coalesce(t.platform_fee, %(platform_fee)s::numeric) AS platform_fee, sum(h.reward_stroops) AS rewarded_stroops
FROM harvests h LEFT JOIN block_terms t USING (block_index)
WHERE h.outcome = 'harvested' AND h.created_at >= %(since)s
GROUP BY 1;

-- name: select_operator_actions
-- A page of what operators did, the newest first.
SELECT action_id, key_id, action, subject_id, detail, created_at
FROM operator_actions
WHERE %(after)s::uuid IS NULL OR action_id < %(after)s
ORDER BY action_id DESC
LIMIT %(limit)s;

------------------------------------------------------------------------------------------------------------------------
-- The audit: every row in the order of its id, which grows with time

-- name: audit_plantings
SELECT event_id, created_at, block_index, pooler_id, farmer_id, outcome, stake_stroops, submission_id, transaction_hash,
       ledger, code, message, fault
FROM plantings WHERE event_id > %(after)s AND event_id < %(before)s ORDER BY event_id LIMIT %(limit)s;

-- name: audit_works
SELECT event_id, created_at, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, submission_id,
       transaction_hash, ledger, code, message, fault
FROM works WHERE event_id > %(after)s AND event_id < %(before)s ORDER BY event_id LIMIT %(limit)s;

-- name: audit_harvests
SELECT event_id, created_at, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops, forecast_stroops,
       submission_id, transaction_hash, ledger, code, message, fault
FROM harvests WHERE event_id > %(after)s AND event_id < %(before)s ORDER BY event_id LIMIT %(limit)s;

-- name: audit_submissions
SELECT submission_id, created_at, action, pooler_id, source_account, sequence, transaction_hash, valid_until, attempt, status,
       ledger, result_code, fee_stroops, closed_at
FROM submissions WHERE submission_id > %(after)s AND submission_id < %(before)s ORDER BY submission_id LIMIT %(limit)s;

-- name: audit_compensations
SELECT compensation_id, created_at, block_index, pooler_id, farmer_id, fault, code, stake_stroops, forecast_stroops,
       paid_transaction, paid_at, standing
FROM pooler_compensations
WHERE compensation_id > %(after)s AND compensation_id < %(before)s ORDER BY compensation_id LIMIT %(limit)s;

-- name: audit_withdrawals
SELECT w.withdrawal_id, w.created_at, w.farmer_id, w.asset, w.amount_stroops, w.destination, w.closed_at, w.code, w.message,
       s.transaction_hash, s.status AS transaction_status
FROM withdrawals w
LEFT JOIN submission_items i ON i.withdrawal_id = w.withdrawal_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id)
WHERE w.withdrawal_id > %(after)s AND w.withdrawal_id < %(before)s ORDER BY w.withdrawal_id LIMIT %(limit)s;

-- name: audit_operator_actions
SELECT action_id, created_at, key_id, action, subject_id, detail
FROM operator_actions WHERE action_id > %(after)s AND action_id < %(before)s ORDER BY action_id LIMIT %(limit)s;
