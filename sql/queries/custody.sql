-- custody.py: sealed secrets with what they are sealed for; sealing them again.

-- name: select_master_key_ids
-- The master keys that seal anything.
SELECT master_key_id FROM accounts WHERE secret_sealed <> ''
UNION
SELECT master_key_id FROM farmers WHERE secret_sealed <> '';

-- name: select_sealed
-- Every secret that may be needed, with what it is sealed for.
SELECT account_id AS row_id, purpose, address, name, NULL AS payout_wallet, NULL AS payout_memo, secret_sealed FROM accounts
UNION ALL
SELECT farmer_id, 'farmer', custodial_wallet, NULL, payout_wallet, payout_memo, secret_sealed FROM farmers
WHERE status <> 'departed' AND NOT plants_itself;

-- name: lock_sealed_accounts
-- Every account's secret; nobody else changes these rows within the transaction.
SELECT account_id AS row_id, purpose, address, name, NULL AS payout_wallet, NULL AS payout_memo, secret_sealed, master_key_id
FROM accounts WHERE secret_sealed <> '' ORDER BY account_id FOR UPDATE;

-- name: lock_sealed_farmers
-- As lock_sealed_accounts.
SELECT farmer_id AS row_id, 'farmer' AS purpose, custodial_wallet AS address, NULL AS name, payout_wallet, payout_memo,
       secret_sealed, master_key_id
FROM farmers WHERE secret_sealed <> '' ORDER BY farmer_id FOR UPDATE;

-- name: lock_sealed_farmer
SELECT farmer_id AS row_id, 'farmer' AS purpose, custodial_wallet AS address, NULL AS name, payout_wallet, payout_memo,
       secret_sealed, status
FROM farmers WHERE farmer_id = %(farmer_id)s FOR UPDATE;

-- name: update_account_secret
UPDATE accounts SET secret_sealed = %(secret_sealed)s, master_key_id = %(master_key_id)s WHERE account_id = %(row_id)s;

-- name: update_farmer_secret
UPDATE farmers SET secret_sealed = %(secret_sealed)s, master_key_id = %(master_key_id)s WHERE farmer_id = %(row_id)s;

-- name: update_farmer_payout
UPDATE farmers SET payout_wallet = %(payout_wallet)s, payout_memo = %(payout_memo)s, owner_wallet = %(owner_wallet)s,
                   secret_sealed = %(secret_sealed)s, master_key_id = %(master_key_id)s
WHERE farmer_id = %(row_id)s;

-- name: select_sealed_miners
-- Miners that have a wallet, or had a seal, with what they are sealed for.
SELECT miner_id, payout_wallet, payout_memo, next_wallet, next_memo, next_wallet_at, payout_seal FROM miners
WHERE payout_wallet IS NOT NULL OR next_wallet IS NOT NULL OR payout_seal IS NOT NULL;

-- name: lock_sealed_miners
SELECT miner_id, payout_wallet, payout_memo, next_wallet, next_memo, next_wallet_at, payout_seal FROM miners
ORDER BY miner_id FOR UPDATE;

-- name: update_miner_seal
UPDATE miners SET payout_seal = %(payout_seal)s WHERE miner_id = %(miner_id)s;

-- name: lock_sealed_webhooks
SELECT webhook_id, url, subject_id, secret_sealed FROM webhooks ORDER BY webhook_id FOR UPDATE;

-- name: update_webhook_secret
UPDATE webhooks SET secret_sealed = %(secret_sealed)s WHERE webhook_id = %(webhook_id)s;
