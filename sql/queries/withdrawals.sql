-- services/withdrawals.py: what is paid out to a farmer while it stays.

-- name: insert_withdrawal
-- Nothing where the farmer leaves, has one that is on its way, or has used this idempotency key.
INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination)
SELECT %(withdrawal_id)s, farmer_id, %(idempotency_key)s, %(asset)s, %(amount_stroops)s, payout_wallet
FROM farmers WHERE farmer_id = %(farmer_id)s AND status IN ('registered', 'active')
  AND NOT EXISTS (SELECT FROM withdrawals w WHERE w.farmer_id = farmers.farmer_id AND w.closed_at IS NULL) FOR SHARE
ON CONFLICT DO NOTHING;

-- name: select_open_withdrawal
-- A farmer's that is not known to be paid or given up.
SELECT withdrawal_id FROM withdrawals WHERE farmer_id = %(farmer_id)s AND closed_at IS NULL LIMIT 1;

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
