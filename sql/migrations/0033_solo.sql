-- SOLO: rigs that hash for a farmer of their own alone, outside of what is shared out by hashes.

ALTER TABLE shares ADD COLUMN solo BOOLEAN NOT NULL DEFAULT false;
-- The work was found by a rig of the farmer's own: fee_stroops is the service fee, and nothing of it is shared out.
ALTER TABLE harvests ADD COLUMN solo BOOLEAN NOT NULL DEFAULT false;
-- The service fee, a part of rewards. NULL for blocks from before there was SOLO.
ALTER TABLE block_terms ADD COLUMN solo_fee NUMERIC CHECK (solo_fee BETWEEN 0 AND 1);
