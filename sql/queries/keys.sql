-- services/keys.py: API keys, by their hash.

-- name: insert_api_key
-- A key, by its hash. See keys.py.
INSERT INTO api_keys (key_id, key_hash, role, subject_id, subject_wallet, label, expires_at)
VALUES (%(key_id)s, %(key_hash)s, %(role)s, %(subject_id)s, %(subject_wallet)s, %(label)s, %(expires_at)s);

-- name: select_api_keys
-- Who keys speak for, those of them that may speak at all.
SELECT key_hash, key_id, role, subject_id, subject_wallet, label, created_at, expires_at
FROM api_keys
WHERE key_hash = ANY (%(key_hashes)s::bytea[]) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: select_wallet_key
-- The key that may be used of a role and a wallet, without an end.
SELECT key_id, role, subject_id, subject_wallet, label, created_at, expires_at
FROM api_keys
WHERE role = %(role)s AND subject_wallet = %(subject_wallet)s AND revoked_at IS NULL AND expires_at IS NULL
ORDER BY key_id LIMIT 1;

-- name: revoke_api_keys
-- End every key of a subject that carries this label.
UPDATE api_keys SET revoked_at = now()
WHERE subject_id = %(subject_id)s AND label = %(label)s AND revoked_at IS NULL;

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

-- name: select_keys
-- A page of keys, the newest first; of one role and of one subject unless these are null. Tokens that ended are left out.
SELECT key_id, role, subject_id, subject_wallet, label, created_at, expires_at, revoked_at
FROM api_keys
WHERE (%(role)s::text IS NULL OR role = %(role)s) AND (%(subject_id)s::uuid IS NULL OR subject_id = %(subject_id)s)
  AND (label <> 'sign-in' OR expires_at > now())
  AND (%(after)s::uuid IS NULL OR key_id < %(after)s)
ORDER BY key_id DESC
LIMIT %(limit)s;

-- name: lock_keys
-- Lets one transaction at a time make a key of a subject.
SELECT pg_advisory_xact_lock(hashtextextended('keys ' || %(subject)s, 0));

-- name: count_live_keys
-- How many keys of a role and subject may be used.
SELECT count(*) AS keys FROM api_keys
WHERE role = %(role)s AND subject_id IS NOT DISTINCT FROM %(subject_id)s AND subject_wallet IS NULL
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: end_oldest_tokens
-- Of a wallet's tokens that may be used, the newest so many stay.
UPDATE api_keys SET revoked_at = now()
WHERE key_id IN (
    SELECT key_id FROM api_keys
    WHERE subject_wallet = %(subject_wallet)s AND revoked_at IS NULL AND expires_at > now()
    ORDER BY key_id DESC OFFSET %(most)s);

-- name: delete_old_tokens
-- Tokens of who signed in, an hour after their end.
DELETE FROM api_keys WHERE subject_wallet IS NOT NULL AND expires_at < now() - interval '1 hour';
