-- Browsers that are signed in. A session stands on a key: what that key may do it may, and it ends with it.
CREATE TABLE browser_sessions (
    session_id UUID PRIMARY KEY,
    token_hash hash32 NOT NULL UNIQUE, -- SHA-256 of what the cookie holds
    key_id     UUID NOT NULL REFERENCES api_keys ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    ended_at   TIMESTAMPTZ
);
CREATE INDEX browser_sessions_key ON browser_sessions (key_id, session_id);
CREATE INDEX browser_sessions_end ON browser_sessions (expires_at);
