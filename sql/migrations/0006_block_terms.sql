-- What a block's credits are reckoned with, for good.

-- The settings that held when the block was first seen: another setting later changes no past block's credits.
CREATE TABLE block_terms (
    block_index    BIGINT PRIMARY KEY,
    platform_fee   NUMERIC NOT NULL,
    miner_fee_part NUMERIC NOT NULL,
    pplns_blocks   INTEGER NOT NULL CHECK (pplns_blocks > 0),
    fixed_at       TIMESTAMPTZ NOT NULL DEFAULT now()
);
