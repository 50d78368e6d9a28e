-- Why a miner seems to hold back shares with many zeros, for the operator.
ALTER TABLE miners ADD COLUMN suspicion TEXT;
