-- Who took a transaction to the network. 'direct': the pool, which paid fee_stroops. 'relayer': one who paid for it, namely
-- sponsored_stroops; fee_stroops is 0 then. NULL where no ledger took it, and for what is older than this column.
ALTER TABLE submissions ADD COLUMN submitter TEXT CHECK (submitter IN ('direct', 'relayer'));
ALTER TABLE submissions ADD COLUMN sponsored_stroops stroops;
