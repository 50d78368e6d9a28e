-- services/signin.py: challenges that were answered.

-- name: insert_signin
-- Uses a challenge; touches no row where it was used before.
INSERT INTO signins (challenge_hash, wallet, expires_at)
VALUES (%(challenge_hash)s, %(wallet)s, %(expires_at)s) ON CONFLICT DO NOTHING;

-- name: delete_old_signins
DELETE FROM signins WHERE expires_at < now() - interval '1 hour';
