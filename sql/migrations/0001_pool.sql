-- The record of everything the pool does. The chain is the truth; this says what was meant and what came of it.
--
-- Money is whole stroops, NUMERIC(39,0): an i128 fits. A nonce is NUMERIC(20,0): a u64 does not fit BIGINT.
-- Ids are UUIDv7, made by the application. Hashes are 32 raw bytes. Times carry a zone.

CREATE DOMAIN stroops AS NUMERIC(39, 0);
CREATE DOMAIN nonce AS NUMERIC(20, 0) CHECK (VALUE BETWEEN 0 AND 18446744073709551615);
CREATE DOMAIN hash32 AS BYTEA CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN fault AS TEXT CHECK (VALUE IN ('pooler', 'backend', 'farmer', 'network'));

-- Every searcher (a Ray worker, an external miner) gets a number of its own: the top bits of its nonces. Never reused.
CREATE SEQUENCE searcher_ids AS BIGINT MINVALUE 1;

------------------------------------------------------------------------------------------------------------------------
-- Who takes part

CREATE TABLE poolers (
    pooler_id    UUID PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE CHECK (name <> ''),
    max_farmers  INTEGER NOT NULL DEFAULT 100 CHECK (max_farmers > 0),
    status       TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at TIMESTAMPTZ
);

CREATE TABLE miners (
    miner_id      UUID PRIMARY KEY,
    name          TEXT NOT NULL CHECK (name <> ''),
    payout_wallet TEXT,
    searcher      BIGINT NOT NULL UNIQUE DEFAULT nextval('searcher_ids'),
    status        TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    banned_until  TIMESTAMPTZ,
    metadata      JSONB NOT NULL DEFAULT '{}',
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at  TIMESTAMPTZ
);

-- Keys and tokens, by the SHA-256 of a 256-bit random value. The value itself is shown once and never stored.
CREATE TABLE api_keys (
    key_id         UUID PRIMARY KEY,
    key_hash       hash32 NOT NULL UNIQUE,
    role           TEXT NOT NULL CHECK (role IN ('farmer', 'miner', 'pooler', 'operator')),
    subject_id     UUID,            -- the farmer, miner or pooler it speaks for
    subject_wallet TEXT,            -- a payout wallet that signed in and may own several farmers
    label          TEXT NOT NULL DEFAULT '',
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at     TIMESTAMPTZ,
    revoked_at     TIMESTAMPTZ,
    CHECK (role = 'operator' OR subject_id IS NOT NULL OR (role = 'farmer' AND subject_wallet IS NOT NULL))
);
CREATE INDEX api_keys_subject ON api_keys (subject_id);

-- The pool's own accounts. Each secret is sealed with the account's id as associated data: see custody.py.
CREATE TABLE accounts (
    account_id    UUID PRIMARY KEY,
    purpose       TEXT NOT NULL CHECK (purpose IN ('pool', 'channel')),
    name          TEXT NOT NULL UNIQUE,
    address       TEXT NOT NULL UNIQUE,
    secret_sealed BYTEA NOT NULL,
    master_key_id TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE farmers (
    farmer_id        UUID PRIMARY KEY,
    pooler_id        UUID NOT NULL REFERENCES poolers,
    custodial_wallet TEXT NOT NULL UNIQUE,
    secret_sealed    BYTEA NOT NULL,
    master_key_id    TEXT NOT NULL,
    payout_wallet    TEXT NOT NULL,
    stake_percentage NUMERIC(7, 6) NOT NULL CHECK (stake_percentage BETWEEN 0 AND 1),
    status           TEXT NOT NULL DEFAULT 'registered' CHECK (status IN ('registered', 'active', 'leaving', 'departed')),
    metadata         JSONB NOT NULL DEFAULT '{}',
    registered_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    activated_at     TIMESTAMPTZ,
    departed_at      TIMESTAMPTZ
);
CREATE INDEX farmers_pooler ON farmers (pooler_id, status);
CREATE INDEX farmers_payout_wallet ON farmers (payout_wallet);

------------------------------------------------------------------------------------------------------------------------
-- Blocks

-- What the chain said of a block when it was last read. Kept because the chain forgets a block after about a day.
CREATE TABLE blocks (
    block_index              BIGINT PRIMARY KEY,
    entropy                  hash32 NOT NULL,
    started_at               TIMESTAMPTZ NOT NULL,
    min_gap                  BIGINT NOT NULL,
    max_gap                  BIGINT NOT NULL,
    min_stake_stroops        stroops NOT NULL,
    max_stake_stroops        stroops NOT NULL,
    min_zeros                INTEGER NOT NULL,
    max_zeros                INTEGER NOT NULL,
    staked_total_stroops     stroops NOT NULL,
    normalized_total         NUMERIC(39, 0) NOT NULL,
    final                    BOOLEAN NOT NULL DEFAULT false,  -- read when the block was over: nothing changes any more
    ledger                   BIGINT,
    read_at                  TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- One pooler's part in one block.
CREATE TABLE block_operations (
    block_index BIGINT NOT NULL,
    pooler_id   UUID NOT NULL REFERENCES poolers,
    entropy     hash32 NOT NULL,
    started_at  TIMESTAMPTZ NOT NULL,  -- the block's start by the chain's clock
    seen_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    status      TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'finished', 'given_up')),
    reason      TEXT,                  -- why it was given up
    closed_at   TIMESTAMPTZ,
    PRIMARY KEY (block_index, pooler_id),
    CHECK ((status = 'open') = (closed_at IS NULL))
);
CREATE INDEX block_operations_open ON block_operations (pooler_id, block_index) WHERE status = 'open';

------------------------------------------------------------------------------------------------------------------------
-- The journal: every transaction is written here, with its hash, before it is sent

CREATE TABLE submissions (
    submission_id    UUID PRIMARY KEY,
    action           TEXT NOT NULL CHECK (action IN ('plant', 'work', 'harvest', 'payment', 'trustline', 'create_account', 'merge')),
    pooler_id        UUID REFERENCES poolers,
    source_account   TEXT NOT NULL,
    sequence         NUMERIC(20, 0) NOT NULL,
    transaction_hash hash32 NOT NULL UNIQUE,
    envelope_xdr     TEXT NOT NULL,
    valid_until      TIMESTAMPTZ NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 1 CHECK (attempt > 0),
    status           TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'applied', 'failed', 'expired')),
    ledger           BIGINT,
    result_code      TEXT,
    fee_stroops      stroops,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    closed_at        TIMESTAMPTZ,
    CHECK ((status = 'open') = (closed_at IS NULL))
);
CREATE INDEX submissions_open ON submissions (created_at) WHERE status = 'open';
CREATE INDEX submissions_recent ON submissions (created_at DESC);

-- What each transaction is to do: one row per farmer (and block) it touches.
CREATE TABLE submission_items (
    submission_id    UUID NOT NULL REFERENCES submissions,
    item_number      INTEGER NOT NULL DEFAULT 0,  -- order inside the transaction
    action           TEXT NOT NULL,
    block_index      BIGINT,
    farmer_id        UUID REFERENCES farmers,
    amount_stroops   stroops,
    forecast_stroops stroops,
    destination      TEXT,
    nonce            nonce,
    hash             hash32,
    zeros            INTEGER,
    status           TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'applied', 'failed', 'expired')),
    PRIMARY KEY (submission_id, item_number)
);
-- Never two open intents for one (block, farmer, action); a plant or harvest that was applied is never meant again.
CREATE UNIQUE INDEX submission_items_once ON submission_items (action, block_index, farmer_id)
    WHERE block_index IS NOT NULL AND (status = 'open' OR (status = 'applied' AND action IN ('plant', 'harvest')));
-- Nor two open payments, trustlines or merges of one farmer.
CREATE UNIQUE INDEX submission_items_once_farmer ON submission_items (action, farmer_id)
    WHERE block_index IS NULL AND status = 'open';
CREATE INDEX submission_items_farmer ON submission_items (farmer_id, block_index);

------------------------------------------------------------------------------------------------------------------------
-- What came of it: append-only. An outcome found on the chain without a journal entry has no transaction_hash.

CREATE TABLE plantings (
    event_id         UUID PRIMARY KEY,
    block_index      BIGINT NOT NULL,
    pooler_id        UUID NOT NULL REFERENCES poolers,
    farmer_id        UUID NOT NULL REFERENCES farmers,
    outcome          TEXT NOT NULL CHECK (outcome IN ('planted', 'failed')),
    stake_stroops    stroops,
    submission_id    UUID REFERENCES submissions,
    transaction_hash hash32,
    ledger           BIGINT,
    code             TEXT,
    message          TEXT,
    fault            fault,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK (outcome <> 'planted' OR stake_stroops IS NOT NULL),
    CHECK (outcome <> 'failed' OR (code IS NOT NULL AND fault IS NOT NULL))
);
CREATE UNIQUE INDEX plantings_once ON plantings (block_index, farmer_id) WHERE outcome = 'planted';
CREATE INDEX plantings_block ON plantings (block_index, pooler_id);
CREATE INDEX plantings_farmer ON plantings (farmer_id, block_index);

CREATE TABLE works (
    event_id         UUID PRIMARY KEY,
    block_index      BIGINT NOT NULL,
    pooler_id        UUID NOT NULL REFERENCES poolers,
    farmer_id        UUID NOT NULL REFERENCES farmers,
    outcome          TEXT NOT NULL CHECK (outcome IN ('worked', 'refused', 'failed')),
    nonce            nonce,
    hash             hash32,
    zeros            INTEGER,
    gap              BIGINT,
    forecast_stroops stroops,  -- the reward this work would bring with the block as it stood then
    submission_id    UUID REFERENCES submissions,
    transaction_hash hash32,
    ledger           BIGINT,
    code             TEXT,
    message          TEXT,
    fault            fault,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK (outcome <> 'worked' OR (zeros IS NOT NULL AND gap IS NOT NULL)),
    CHECK (outcome = 'worked' OR (code IS NOT NULL AND fault IS NOT NULL))
);
CREATE UNIQUE INDEX works_once ON works (transaction_hash, farmer_id) WHERE outcome = 'worked';
CREATE INDEX works_block ON works (block_index, pooler_id);
CREATE INDEX works_farmer ON works (farmer_id, block_index);

CREATE TABLE harvests (
    event_id         UUID PRIMARY KEY,
    block_index      BIGINT NOT NULL,
    pooler_id        UUID NOT NULL REFERENCES poolers,
    farmer_id        UUID NOT NULL REFERENCES farmers,
    outcome          TEXT NOT NULL CHECK (outcome IN ('harvested', 'failed')),
    reward_stroops   stroops,  -- without the stake, which comes back with it
    stake_stroops    stroops,
    forecast_stroops stroops,  -- by our maths from the block's final state; NULL where that was not known
    submission_id    UUID REFERENCES submissions,
    transaction_hash hash32,
    ledger           BIGINT,
    code             TEXT,
    message          TEXT,
    fault            fault,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK (outcome <> 'harvested' OR (reward_stroops IS NOT NULL AND stake_stroops IS NOT NULL)),
    CHECK (outcome <> 'failed' OR (code IS NOT NULL AND fault IS NOT NULL))
);
CREATE UNIQUE INDEX harvests_once ON harvests (block_index, farmer_id) WHERE outcome = 'harvested';
CREATE INDEX harvests_block ON harvests (block_index, pooler_id);
CREATE INDEX harvests_farmer ON harvests (farmer_id, block_index);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON plantings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON works     FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON harvests  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is owed to a farmer for a lost stake and reward, by whose fault, and whether it was paid.
CREATE TABLE pooler_compensations (
    compensation_id  UUID PRIMARY KEY,
    block_index      BIGINT NOT NULL,
    pooler_id        UUID NOT NULL REFERENCES poolers,
    farmer_id        UUID NOT NULL REFERENCES farmers,
    fault            fault NOT NULL,
    code             TEXT NOT NULL,
    stake_stroops    stroops NOT NULL CHECK (stake_stroops >= 0),
    forecast_stroops stroops NOT NULL CHECK (forecast_stroops >= 0),
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    paid_transaction hash32,
    paid_at          TIMESTAMPTZ,
    UNIQUE (block_index, farmer_id),
    CHECK ((paid_transaction IS NULL) = (paid_at IS NULL))
);
CREATE INDEX pooler_compensations_pooler ON pooler_compensations (pooler_id, block_index);

------------------------------------------------------------------------------------------------------------------------
-- The search

-- Every accepted share. Which is best needs no column of its own: the lowest hash.
CREATE TABLE shares (
    share_id        UUID PRIMARY KEY,
    block_index     BIGINT NOT NULL,
    farmer_id       UUID NOT NULL REFERENCES farmers,
    searcher        BIGINT NOT NULL,
    miner_id        UUID REFERENCES miners,
    nonce           nonce NOT NULL,
    hash            hash32 NOT NULL,
    zeros           INTEGER NOT NULL CHECK (zeros BETWEEN 0 AND 64),
    credited_hashes NUMERIC(39, 0) NOT NULL DEFAULT 0,  -- hashes a share of its target takes on average
    found_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (block_index, farmer_id, nonce)
);
CREATE INDEX shares_best ON shares (block_index, farmer_id, hash);
CREATE INDEX shares_miner ON shares (miner_id, found_at) WHERE miner_id IS NOT NULL;

-- Shares by outcome, counted per miner and block: 'accepted', or the reason of a refusal.
CREATE TABLE share_counts (
    block_index     BIGINT NOT NULL,
    miner_id        UUID NOT NULL REFERENCES miners,
    outcome         TEXT NOT NULL,
    shares          BIGINT NOT NULL DEFAULT 0,
    credited_hashes NUMERIC(39, 0) NOT NULL DEFAULT 0,
    PRIMARY KEY (block_index, miner_id, outcome)
);

-- Searchers of the cluster, one row per actor that ever joined.
CREATE TABLE workers (
    worker_id         UUID PRIMARY KEY,
    searcher          BIGINT NOT NULL UNIQUE,
    node              TEXT NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('cpu', 'cuda')),
    backend           TEXT NOT NULL,
    threads           INTEGER NOT NULL,
    version           TEXT NOT NULL,
    status            TEXT NOT NULL DEFAULT 'alive' CHECK (status IN ('alive', 'gone')),
    hashes_per_second DOUBLE PRECISION NOT NULL DEFAULT 0,
    hashes            NUMERIC(39, 0) NOT NULL DEFAULT 0,
    best_zeros        INTEGER NOT NULL DEFAULT 0,
    joined_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX workers_alive ON workers (last_seen_at) WHERE status = 'alive';

-- Rates over time, for charts.
CREATE TABLE hashrates (
    sampled_at        TIMESTAMPTZ NOT NULL,
    searcher          BIGINT NOT NULL,
    hashes_per_second DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (sampled_at, searcher)
);

------------------------------------------------------------------------------------------------------------------------
-- Views

CREATE VIEW best_shares AS
SELECT DISTINCT ON (block_index, farmer_id)
       block_index, farmer_id, share_id, searcher, miner_id, nonce, hash, zeros, found_at
FROM shares
ORDER BY block_index, farmer_id, hash;

-- Per farmer, over all blocks. Each event table is summed by itself: joined together they would multiply each other.
CREATE VIEW farmer_performance AS
SELECT f.farmer_id, f.pooler_id, f.status,
       p.blocks_planted, p.plants_failed, p.staked_stroops,
       w.blocks_worked, w.works_failed, w.best_zeros,
       h.blocks_harvested, h.harvests_failed, h.rewarded_stroops, h.forecast_stroops,
       CASE WHEN p.blocks_planted > 0 THEN h.blocks_harvested::DOUBLE PRECISION / p.blocks_planted END AS success_rate
FROM farmers f
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE outcome = 'planted') AS blocks_planted,
           count(*) FILTER (WHERE outcome = 'failed') AS plants_failed,
           coalesce(sum(stake_stroops) FILTER (WHERE outcome = 'planted'), 0) AS staked_stroops
    FROM plantings WHERE farmer_id = f.farmer_id) p
CROSS JOIN LATERAL (
    SELECT count(DISTINCT block_index) FILTER (WHERE outcome = 'worked') AS blocks_worked,
           count(*) FILTER (WHERE outcome = 'failed') AS works_failed,
           max(zeros) FILTER (WHERE outcome = 'worked') AS best_zeros
    FROM works WHERE farmer_id = f.farmer_id) w
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE outcome = 'harvested') AS blocks_harvested,
           count(*) FILTER (WHERE outcome = 'failed') AS harvests_failed,
           coalesce(sum(reward_stroops) FILTER (WHERE outcome = 'harvested'), 0) AS rewarded_stroops,
           coalesce(sum(forecast_stroops) FILTER (WHERE outcome = 'harvested'), 0) AS forecast_stroops
    FROM harvests WHERE farmer_id = f.farmer_id) h;

-- Per block and pooler: how much of it was done.
CREATE VIEW block_completion AS
SELECT o.block_index, o.pooler_id, o.status, o.started_at, o.seen_at, o.closed_at,
       p.planted, p.staked_stroops, w.worked, w.best_zeros, h.harvested, h.rewarded_stroops, h.forecast_stroops
FROM block_operations o
CROSS JOIN LATERAL (
    SELECT count(*) AS planted, coalesce(sum(stake_stroops), 0) AS staked_stroops
    FROM plantings
    WHERE block_index = o.block_index AND pooler_id = o.pooler_id AND outcome = 'planted') p
CROSS JOIN LATERAL (
    SELECT count(DISTINCT farmer_id) AS worked, max(zeros) AS best_zeros
    FROM works
    WHERE block_index = o.block_index AND pooler_id = o.pooler_id AND outcome = 'worked') w
CROSS JOIN LATERAL (
    SELECT count(*) AS harvested, coalesce(sum(reward_stroops), 0) AS rewarded_stroops,
           coalesce(sum(forecast_stroops), 0) AS forecast_stroops
    FROM harvests
    WHERE block_index = o.block_index AND pooler_id = o.pooler_id AND outcome = 'harvested') h;
