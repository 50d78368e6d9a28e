-- A browser may be signed in as a farmer, a miner and an operator: one cookie, a session for each.
ALTER TABLE browser_sessions DROP CONSTRAINT browser_sessions_token_hash_key;
CREATE UNIQUE INDEX browser_sessions_cookie ON browser_sessions (token_hash, key_id);
