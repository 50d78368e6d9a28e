-- Farmers that plant themselves: the pool has no key of their wallet, which may be a contract. It searches, works and
-- harvests for them, for price_stroops of KALE a harvested pail, taken off what was prepaid; 0: by agreement for nothing.
ALTER TABLE farmers ADD COLUMN plants_itself BOOLEAN NOT NULL DEFAULT false CHECK (NOT plants_itself OR secret_sealed = '');
ALTER TABLE farmers ADD COLUMN price_stroops stroops NOT NULL DEFAULT 0 CHECK (price_stroops >= 0);
ALTER TABLE farmers ADD COLUMN prepaid_stroops stroops NOT NULL DEFAULT 0 CHECK (prepaid_stroops >= 0);
