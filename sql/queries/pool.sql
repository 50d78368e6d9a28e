-- Queries that more than one part of the pool needs. Each area keeps its own in a file beside this one.

-- name: insert_pooler
-- A new pooler; nothing where the name is taken.
INSERT INTO poolers (pooler_id, name, max_farmers)
VALUES (%(pooler_id)s, %(name)s, %(max_farmers)s)
ON CONFLICT (name) DO NOTHING;

-- name: select_pooler_by_name
SELECT pooler_id, name, max_farmers, status, created_at, last_seen_at FROM poolers WHERE name = %(name)s;

-- name: insert_api_key
-- A key, by its hash. See keys.py.
INSERT INTO api_keys (key_id, key_hash, role, subject_id, subject_wallet, label, expires_at)
VALUES (%(key_id)s, %(key_hash)s, %(role)s, %(subject_id)s, %(subject_wallet)s, %(label)s, %(expires_at)s);

-- name: select_api_key
-- Who a key speaks for, if it may speak at all.
SELECT key_id, role, subject_id, subject_wallet, label, created_at, expires_at
FROM api_keys
WHERE key_hash = %(key_hash)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: revoke_api_keys
-- End every key of a subject that carries this label.
UPDATE api_keys SET revoked_at = now()
WHERE subject_id = %(subject_id)s AND label = %(label)s AND revoked_at IS NULL;

-- name: select_farmers
-- Farmers, oldest first; of one pooler unless pooler_id is null.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata,
       registered_at, activated_at, departed_at
FROM farmers
WHERE %(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s
ORDER BY registered_at, farmer_id;

-- name: select_farmer_performance
SELECT * FROM farmer_performance WHERE farmer_id = %(farmer_id)s;
