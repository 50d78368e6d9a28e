-- services/browsing.py: browsers that are signed in, by the hash of their cookie.

-- name: insert_browser_session
INSERT INTO browser_sessions (session_id, token_hash, key_id, expires_at)
VALUES (%(session_id)s, %(token_hash)s, %(key_id)s, now() + make_interval(secs => %(seconds)s::float))
RETURNING expires_at;

-- name: carry_browser_session
-- A session of another role goes on under the browser's new cookie.
INSERT INTO browser_sessions (session_id, token_hash, key_id, expires_at)
SELECT %(session_id)s, %(token_hash)s, key_id, expires_at FROM browser_sessions WHERE session_id = %(old_session_id)s;

-- name: select_browser_sessions
-- Whom a cookie speaks for, by the sessions that may still be used with the keys below them: the newest first.
SELECT s.session_id, s.created_at, least(s.expires_at, k.expires_at) AS expires_at,
       k.key_id, k.role, k.subject_id, k.subject_wallet, k.label
FROM browser_sessions s JOIN api_keys k USING (key_id)
WHERE s.token_hash = %(token_hash)s AND s.ended_at IS NULL AND s.expires_at > now()
  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
ORDER BY s.session_id DESC;

-- name: end_browser_session
UPDATE browser_sessions SET ended_at = now() WHERE token_hash = %(token_hash)s AND ended_at IS NULL;

-- name: end_browser_sessions
-- All of a key, but for the newest so many.
UPDATE browser_sessions SET ended_at = now()
WHERE session_id IN (
    SELECT session_id FROM browser_sessions
    WHERE key_id = %(key_id)s AND ended_at IS NULL AND expires_at > now()
    ORDER BY session_id DESC OFFSET %(keep)s);

-- name: delete_old_browser_sessions
DELETE FROM browser_sessions WHERE expires_at < now() - interval '1 hour' OR ended_at < now() - interval '1 hour';
