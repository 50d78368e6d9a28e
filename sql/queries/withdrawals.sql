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
SELECT withdrawal_id, farmer_id, asset, amount_stroops, destination, created_at, status, transaction_hash, ledger, code, message
FROM withdrawal_states
WHERE withdrawal_id = %(withdrawal_id)s OR (farmer_id = %(farmer_id)s AND idempotency_key = %(idempotency_key)s);

-- name: select_withdrawals
-- A page of a farmer's withdrawals, the newest first.
SELECT withdrawal_id, farmer_id, asset, amount_stroops, destination, created_at, status, transaction_hash, ledger, code, message
FROM withdrawal_states
WHERE farmer_id = %(farmer_id)s AND (%(after)s::uuid IS NULL OR withdrawal_id < %(after)s)
ORDER BY withdrawal_id DESC
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
