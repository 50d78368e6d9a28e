-- What a farmer wishes beside its part of the balance: to be left out for a while, and the most that it stakes in a block.
ALTER TABLE farmers ADD COLUMN paused BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE farmers ADD COLUMN resumed_at TIMESTAMPTZ; -- blocks before that give it no claim to a turn
ALTER TABLE farmers ADD COLUMN stake_most_stroops stroops CHECK (stake_most_stroops > 0);
