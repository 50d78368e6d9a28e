-- services/operators.py and services/seeking.py: what operators change, and what only they see.

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

-- name: select_subject_exists
-- Whether a key may speak for this farmer, miner or pooler.
SELECT CASE %(role)s::text WHEN 'farmer' THEN EXISTS (SELECT FROM farmers WHERE farmer_id = %(subject_id)s)
                           WHEN 'miner' THEN EXISTS (SELECT FROM miners WHERE miner_id = %(subject_id)s)
                           WHEN 'pooler' THEN EXISTS (SELECT FROM poolers WHERE pooler_id = %(subject_id)s)
       END AS exists;

-- name: revoke_key
-- Ends any key; nothing where there is none of this id. One that has ended stays as it is.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %(key_id)s;

------------------------------------------------------------------------------------------------------------------------
-- Money

-- name: select_compensations
-- A page of what is owed, the newest first; of one pooler, paid or not, and of one standing, unless these are null.
SELECT compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops, forecast_stroops,
       stake_stroops + forecast_stroops AS owed_stroops, created_at, encode(paid_transaction, 'hex') AS paid_transaction, paid_at,
       standing, approved_at, wait_code, wait_message
FROM pooler_compensations
WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
  AND (%(paid)s::boolean IS NULL OR (paid_at IS NOT NULL) = %(paid)s)
  AND (%(standing)s::text IS NULL OR standing = %(standing)s)
  AND (%(after)s::uuid IS NULL OR compensation_id < %(after)s)
ORDER BY compensation_id DESC
LIMIT %(limit)s;

-- name: select_compensation
SELECT compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops, forecast_stroops,
       stake_stroops + forecast_stroops AS owed_stroops, created_at, encode(paid_transaction, 'hex') AS paid_transaction, paid_at,
       standing, approved_at, wait_code, wait_message
FROM pooler_compensations WHERE compensation_id = %(compensation_id)s;

-- name: pay_compensation
-- Touches no row where it was paid before, is being paid, or is not owed.
UPDATE pooler_compensations c
SET paid_transaction = %(transaction_hash)s, paid_at = now(), wait_code = NULL, wait_message = NULL
WHERE compensation_id = %(compensation_id)s AND paid_at IS NULL AND standing = 'owed'
  AND NOT EXISTS (SELECT FROM submission_items i WHERE i.action = 'compensate' AND i.block_index = c.block_index
                  AND i.farmer_id = c.farmer_id AND i.status IN ('open', 'applied'));

-- name: approve_compensation
-- Touches no row where that was said before, it was paid, or is not owed.
UPDATE pooler_compensations SET approved_at = now()
WHERE compensation_id = %(compensation_id)s AND approved_at IS NULL AND paid_at IS NULL AND standing = 'owed';

-- name: check_compensation
-- Says whether it is owed. Touches no row where that was never in question, or said before.
UPDATE pooler_compensations SET standing = %(standing)s
WHERE compensation_id = %(compensation_id)s AND standing = 'to-check';

-- name: select_rewards_since
-- Rewards since an id, and the pool's part of them: by each farmer's terms, before those by their block's.
SELECT coalesce(sum(h.reward_stroops), 0) AS rewarded_stroops,
       coalesce(sum(coalesce(h.fee_stroops, floor(h.reward_stroops * t.platform_fee))), 0) AS fees_stroops
FROM harvests h LEFT JOIN block_terms t USING (block_index)
WHERE h.outcome = 'harvested' AND h.event_id >= %(since)s;

------------------------------------------------------------------------------------------------------------------------
-- The audit: every row in the order of its id, which grows with time

-- name: select_operator_actions
-- A page of what operators did, the newest first.
SELECT action_id, key_id, action, subject_id, detail, created_at
FROM operator_actions
WHERE %(after)s::uuid IS NULL OR action_id < %(after)s
ORDER BY action_id DESC
LIMIT %(limit)s;

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
       paid_transaction, paid_at, standing, approved_at
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

------------------------------------------------------------------------------------------------------------------------
-- Farmers, miners and each other, as operators seek them

-- name: select_farmers_sought
-- A page of farmers, oldest first, with these words in a name, a wallet or the id; of one status unless that is null.
SELECT f.farmer_id, f.custodial_wallet, f.payout_wallet, f.payout_memo, f.stake_percentage, f.status,
       f.metadata ->> 'name' AS name, f.registered_at, p.name AS pooler
FROM farmers f JOIN poolers p USING (pooler_id)
WHERE position(lower(%(words)s) IN lower(concat_ws(' ', f.metadata ->> 'name', f.custodial_wallet, f.payout_wallet, f.farmer_id))) > 0
  AND (%(status)s::text IS NULL OR f.status = %(status)s)
  AND (%(after)s::uuid IS NULL OR f.farmer_id > %(after)s)
ORDER BY f.farmer_id
LIMIT %(limit)s;

-- name: select_miners_sought
-- A page of miners, oldest first, with these words in the name, the wallet or the id; only those banned now where that is asked.
SELECT miner_id, name, payout_wallet, status, banned_until, bans, ban_reason, suspicion, created_at, last_seen_at
FROM miners
WHERE position(lower(%(words)s) IN lower(concat_ws(' ', name, payout_wallet, miner_id))) > 0
  AND (NOT %(banned)s::boolean OR banned_until > now())
  AND (%(after)s::uuid IS NULL OR miner_id > %(after)s)
ORDER BY miner_id
LIMIT %(limit)s;

-- name: count_suspected_miners
SELECT count(*) AS miners FROM miners
WHERE suspicion IS NOT NULL AND (banned_until IS NULL OR banned_until < now());

-- name: select_operator_actions_with_who
-- A page of what operators did, the newest first, with what the key is called.
SELECT a.action_id, a.key_id, a.action, a.subject_id, a.detail, a.created_at, k.label, k.subject_wallet
FROM operator_actions a JOIN api_keys k USING (key_id)
WHERE %(after)s::uuid IS NULL OR a.action_id < %(after)s
ORDER BY a.action_id DESC
LIMIT %(limit)s;
