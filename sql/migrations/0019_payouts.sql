-- Farmers are paid wherever they keep their money: an account with a memo, an M… address, a C… contract.

-- The memo that goes with every payment to the payout wallet: text:…, id:… or hash:…
ALTER TABLE farmers ADD COLUMN payout_memo TEXT;
-- The wallet that signs in for the farmer: an exchange's account never does. NULL: nobody's, operators let it go.
ALTER TABLE farmers ADD COLUMN owner_wallet TEXT;
UPDATE farmers SET owner_wallet = payout_wallet;
CREATE INDEX farmers_owner_wallet ON farmers (owner_wallet);

-- XLM: of a merge what the account held; of a payment what the pool passes on of that to a contract.
ALTER TABLE submission_items ADD COLUMN native_stroops stroops;

-- One withdrawal of a farmer at a time. Those that are open already are paid as they were meant.
ALTER TABLE withdrawals ADD COLUMN single BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE withdrawals ALTER COLUMN single SET DEFAULT true;
CREATE UNIQUE INDEX withdrawals_single ON withdrawals (farmer_id) WHERE closed_at IS NULL AND single;
