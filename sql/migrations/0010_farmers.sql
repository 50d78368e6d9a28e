-- What outside poolers and strangers may do, and what they may not.

-- How much of the block was left when a work was handed in that was not taken: whose fault a lost stake is depends on it.
-- NULL for what a crash left behind.
ALTER TABLE works ADD COLUMN seconds_left DOUBLE PRECISION;
