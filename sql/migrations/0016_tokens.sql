-- Tokens of who signed in are found by their wallet and their end, and deleted after it.
CREATE INDEX api_keys_wallet ON api_keys (subject_wallet, key_id) WHERE subject_wallet IS NOT NULL;
CREATE INDEX api_keys_token_end ON api_keys (expires_at) WHERE subject_wallet IS NOT NULL;
