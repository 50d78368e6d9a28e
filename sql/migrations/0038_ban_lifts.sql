-- How often a miner's bans were lifted. A ban is written down by any process that counted it: not once it was lifted
-- since that process has read the miner.
ALTER TABLE miners ADD COLUMN ban_lifts INTEGER NOT NULL DEFAULT 0;
