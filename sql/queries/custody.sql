-- custody.py: sealing all secrets again, under another master key.

-- name: lock_sealed_secrets
-- Nobody adds an account or a farmer while the secrets are sealed again.
LOCK TABLE accounts, farmers IN EXCLUSIVE MODE;

-- name: select_master_key_ids
-- The master keys that seal anything.
SELECT master_key_id FROM accounts WHERE secret_sealed <> ''
UNION
SELECT master_key_id FROM farmers WHERE secret_sealed <> '';

-- name: select_secrets_not_under
-- Every secret that another master key than this one seals.
SELECT 'accounts' AS kind, account_id AS row_id, address, secret_sealed, master_key_id
FROM accounts WHERE master_key_id <> %(master_key_id)s
UNION ALL
SELECT 'farmers', farmer_id, custodial_wallet, secret_sealed, master_key_id
FROM farmers WHERE master_key_id <> %(master_key_id)s;

-- name: update_account_secret
UPDATE accounts SET secret_sealed = %(secret_sealed)s, master_key_id = %(master_key_id)s WHERE account_id = %(row_id)s;

-- name: update_farmer_secret
UPDATE farmers SET secret_sealed = %(secret_sealed)s, master_key_id = %(master_key_id)s WHERE farmer_id = %(row_id)s;
