-- services/pool_accounts.py: the pool's own accounts, with their sealed secrets.

-- name: select_accounts
SELECT account_id, purpose, name, address, secret_sealed FROM accounts ORDER BY name;

-- name: insert_account
INSERT INTO accounts (account_id, purpose, name, address, secret_sealed, master_key_id)
VALUES (%(account_id)s, %(purpose)s, %(name)s, %(address)s, %(secret_sealed)s, %(master_key_id)s);

-- name: select_fees_burned
-- What the network took of late for transactions of the pool's, and since when.
SELECT coalesce(sum(fee_stroops), 0) AS fee_stroops,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS seconds
FROM submissions WHERE created_at > now() - make_interval(secs => %(seconds)s::float) AND fee_stroops IS NOT NULL;

-- name: select_last_ledger_used
-- The ledger that took our last transaction, and whether one of this account's was taken ever.
SELECT coalesce((SELECT ledger FROM submissions WHERE ledger IS NOT NULL ORDER BY created_at DESC LIMIT 1), 0) AS ledger,
       EXISTS (SELECT FROM submissions WHERE source_account = %(address)s AND status = 'applied') AS used;
