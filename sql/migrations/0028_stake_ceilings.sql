-- The most KALE that a farmer stakes in a block, besides its part of its balance. NULL: no more than that part.
ALTER TABLE farmers ADD COLUMN stake_most_stroops stroops CHECK (stake_most_stroops >= 0);
