-- services/wallets.py: farmers' wallets, each a number's.

-- name: select_next_wallet_number
-- The last of so many numbers that were never given out, and are not given out again.
SELECT max(n.number) AS number FROM (SELECT nextval('wallet_numbers') AS number FROM generate_series(1, %(count)s)) n;

-- name: select_last_wallet_number
-- The last number that was given out; 0 before the first.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS number FROM wallet_numbers;

-- name: select_wallets_here
-- Whose each custodial wallet is.
SELECT custodial_wallet, farmer_id FROM farmers;

-- name: insert_farmer_brought_back
-- A wallet found by the master key alone. It becomes active by itself.
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, owner_wallet,
                     stake_percentage, metadata)
VALUES (%(farmer_id)s, %(pooler_id)s, %(custodial_wallet)s, %(secret_sealed)s, %(master_key_id)s, %(payout_wallet)s,
        %(payout_wallet)s, %(stake_percentage)s, %(metadata)s);
