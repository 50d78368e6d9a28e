-- External miners: rigs, invitations, the key behind job ids, refused shares, and who is told of what.

-- A miner may run many machines with one key. Each is a rig and a searcher of its own, so that they never try the same nonce.
ALTER TABLE miners DROP COLUMN searcher;
ALTER TABLE miners ADD COLUMN bans INTEGER NOT NULL DEFAULT 0;  -- how often so far: every ban is longer than the one before
ALTER TABLE miners ADD COLUMN ban_reason TEXT;

CREATE TABLE rigs (
    searcher     BIGINT PRIMARY KEY DEFAULT nextval('searcher_ids'),
    miner_id     UUID NOT NULL REFERENCES miners,
    name         TEXT NOT NULL CHECK (octet_length(name) <= 256),
    difficulty   NUMERIC(20, 0),  -- what its last shares were found to need; NULL before the first
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (miner_id, name)
);

-- Invitations, by the SHA-256 of a 256-bit random value that is shown once.
CREATE TABLE miner_invites (
    invite_id   UUID PRIMARY KEY,
    invite_hash hash32 NOT NULL UNIQUE,
    label       TEXT NOT NULL DEFAULT '',
    uses_left   INTEGER NOT NULL CHECK (uses_left >= 0),
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at  TIMESTAMPTZ NOT NULL
);

-- A job id says what the job is and carries a code made with this key, so that jobs need not be stored and hold after a restart.
CREATE TABLE job_key (
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    key  hash32 NOT NULL
);
INSERT INTO job_key (key)  -- two random UUIDs: 244 random bits
SELECT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

-- Which request brought a miner's share: the same request again is answered the same.
ALTER TABLE shares ADD COLUMN request_id BYTEA;

CREATE TABLE refused_shares (
    miner_id   UUID NOT NULL REFERENCES miners,
    request_id BYTEA NOT NULL,
    outcome    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    refused_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (miner_id, request_id)
);
CREATE INDEX refused_shares_old ON refused_shares (refused_at);
CREATE INDEX share_counts_miner ON share_counts (miner_id, block_index);

-- A block that opens or closes changes everybody's job.
CREATE FUNCTION tell_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('blocks', NEW.block_index::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_block AFTER INSERT OR UPDATE OF status, entropy ON block_operations
    FOR EACH ROW EXECUTE FUNCTION tell_block();

-- So does a farmer whose stake was planted, or could not be.
CREATE TRIGGER tell_block AFTER INSERT ON plantings FOR EACH ROW EXECUTE FUNCTION tell_block();

-- A key that was revoked or changed must be forgotten by whoever remembers it.
CREATE FUNCTION tell_api_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('api_keys', OLD.key_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_api_key AFTER UPDATE OR DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION tell_api_key();
