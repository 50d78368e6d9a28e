-- Farmers that plant themselves, registered by the wallet's owner: what their wallets paid into the treasury ahead, each
-- transfer once, by the id of the asset contract's event.
CREATE TABLE prepayments (
    event_id         TEXT PRIMARY KEY,
    farmer_id        UUID NOT NULL REFERENCES farmers,
    amount_stroops   stroops NOT NULL CHECK (amount_stroops > 0),
    ledger           BIGINT NOT NULL,
    transaction_hash BYTEA NOT NULL,
    noted_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX prepayments_farmer ON prepayments (farmer_id, ledger);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prepayments FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- When one that had left was registered again.
ALTER TABLE farmers ADD COLUMN returned_at TIMESTAMPTZ;
-- The owner of such a wallet signs in for it.
UPDATE farmers SET owner_wallet = custodial_wallet WHERE plants_itself AND owner_wallet IS NULL;
