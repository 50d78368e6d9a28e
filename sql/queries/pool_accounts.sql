-- services/pool_accounts.py: the pool's own accounts, with their sealed secrets.

-- name: select_accounts
SELECT account_id, purpose, name, address, secret_sealed FROM accounts ORDER BY name;

-- name: insert_account
INSERT INTO accounts (account_id, purpose, name, address, secret_sealed, master_key_id)
VALUES (%(account_id)s, %(purpose)s, %(name)s, %(address)s, %(secret_sealed)s, %(master_key_id)s);
