-- What is planted by what it earns: what rivals had staked in a block, and what the pool meant to do in it and why.

-- What others than the coordinated pooler's farmers had staked in all, the most that was seen at once.
ALTER TABLE blocks ADD COLUMN others_staked_stroops stroops;

CREATE TABLE block_plans (
    block_index      BIGINT NOT NULL,
    pooler_id        UUID NOT NULL REFERENCES poolers,
    farmers          INTEGER NOT NULL,
    places           INTEGER NOT NULL,      -- pails to plant: the other farmers sit the block out
    stake_stroops    stroops NOT NULL,      -- of everybody that can afford it
    reward_stroops   stroops NOT NULL,      -- expected of all pails, less what may be lost
    pail_fee_stroops stroops NOT NULL,      -- what a pail is taken to cost, in XLM
    price_xlm        DOUBLE PRECISION,      -- of a KALE; NULL: not known
    reason           TEXT CHECK (reason IN ('price', 'budget')),
    planned_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (block_index, pooler_id),
    CHECK (places BETWEEN 0 AND farmers),
    CHECK ((reason IS NULL) = (places = farmers))
);
