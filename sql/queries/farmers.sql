-- services/farmers.py: farmers, with their sealed secrets.

-- name: insert_farmer
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, stake_percentage,
                     metadata)
VALUES (%(farmer_id)s, %(pooler_id)s, %(custodial_wallet)s, %(secret_sealed)s, %(master_key_id)s, %(payout_wallet)s,
        %(stake_percentage)s, %(metadata)s)
RETURNING farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
          activated_at, secret_sealed;

-- name: select_wallet_owner
-- The farmer that the pool keeps this wallet for.
SELECT farmer_id FROM farmers WHERE custodial_wallet = %(custodial_wallet)s;

-- name: count_farmers
-- How many farmers a pooler has that have not left.
SELECT count(*) AS farmers FROM farmers WHERE pooler_id = %(pooler_id)s AND status <> 'departed';

-- name: select_registered_farmers
-- Those who wait for funds or a trustline.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers WHERE status = 'registered' ORDER BY registered_at, farmer_id;

-- name: activate_farmer
UPDATE farmers SET status = 'active', activated_at = now() WHERE farmer_id = %(farmer_id)s AND status = 'registered';

------------------------------------------------------------------------------------------------------------------------
-- By themselves

-- name: select_farmers_of_wallet
-- A page of a payout wallet's farmers, oldest first.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers
WHERE payout_wallet = %(payout_wallet)s AND (%(after)s::uuid IS NULL OR farmer_id > %(after)s)
ORDER BY farmer_id
LIMIT %(limit)s;

-- name: count_farmers_of_wallet
SELECT count(*) AS farmers FROM farmers WHERE payout_wallet = %(payout_wallet)s AND status <> 'departed';

-- name: update_stake_percentage
-- Touches no row of a farmer that leaves.
UPDATE farmers SET stake_percentage = %(stake_percentage)s
WHERE farmer_id = %(farmer_id)s AND status IN ('registered', 'active');

------------------------------------------------------------------------------------------------------------------------
-- Who is there

-- name: select_farmer_of_any_pooler
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers WHERE farmer_id = %(farmer_id)s;

-- name: select_farmer_performance
SELECT * FROM farmer_performance WHERE farmer_id = %(farmer_id)s;

-- name: select_farmers_page
-- A page of farmers, oldest first, after a farmer; of one pooler and of one status unless these are null.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers
WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(after)s::uuid IS NULL OR farmer_id > %(after)s)
ORDER BY farmer_id
LIMIT %(limit)s;

-- name: select_farmers_of_pooler
-- Whom a pooler may plant for (active), and work and harvest for (all that have not departed).
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed
FROM farmers
WHERE pooler_id = %(pooler_id)s AND status = ANY(%(statuses)s)
ORDER BY registered_at, farmer_id;

-- name: select_farmers
-- Farmers, oldest first; of one pooler unless pooler_id is null.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata,
       registered_at, activated_at, departed_at
FROM farmers
WHERE %(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s
ORDER BY registered_at, farmer_id;
