-- services/farmers.py: farmers, with their sealed secrets.

-- name: insert_farmer
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, stake_percentage,
                     metadata, registered_by, registered_from, deposit_stroops, fee_rate, payout_memo, owner_wallet, stake_most_stroops)
VALUES (%(farmer_id)s, %(pooler_id)s, %(custodial_wallet)s, %(secret_sealed)s, %(master_key_id)s, %(payout_wallet)s,
        %(stake_percentage)s, %(metadata)s, %(registered_by)s, %(registered_from)s, %(deposit_stroops)s, %(fee_rate)s,
        %(payout_memo)s, %(owner_wallet)s, %(stake_most_stroops)s)
RETURNING farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
          activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops;

-- name: select_wallet_owner
-- The farmer that the pool keeps this wallet for.
SELECT farmer_id FROM farmers WHERE custodial_wallet = %(custodial_wallet)s;

-- name: count_farmers
-- A pooler's places that are taken: who only waits for funds holds none. `announced`: those it has itself registered, and
-- that wait.
SELECT count(*) FILTER (WHERE status IN ('active', 'leaving')) AS present,
       count(*) FILTER (WHERE status = 'registered' AND registered_by <> 'farmer') AS announced
FROM farmers WHERE pooler_id = %(pooler_id)s;

-- name: select_pooler_places
-- How many more farmers each pooler may have active.
SELECT p.pooler_id, p.max_farmers - (SELECT count(*) FROM farmers f
                                     WHERE f.pooler_id = p.pooler_id AND f.status IN ('active', 'leaving')) AS places
FROM poolers p WHERE p.pooler_id = ANY(%(pooler_ids)s);

-- name: count_waiting_from
-- How many farmers that were registered from an address have brought nothing yet.
SELECT count(*) AS farmers FROM farmers WHERE registered_from = %(registered_from)s AND status = 'registered';

-- name: lapse_farmers
-- Of these, those that have waited too long: nothing ever came. Whoever an operator registered may take its time.
UPDATE farmers SET status = 'departed', departed_at = now(), registered_from = NULL, leaving_code = %(code)s,
                   leaving_message = %(message)s
WHERE farmer_id = ANY(%(farmer_ids)s) AND status = 'registered' AND registered_by <> 'operator'
  AND registered_at < now() - make_interval(secs => %(seconds)s::float);

-- name: lapse_sponsored
-- Of these, those that have waited too long and whose wallets the pool pays for: they are closed, which gives that back.
UPDATE farmers SET status = 'leaving', leaving_at = now(), leaving_retry_at = NULL, registered_from = NULL,
                   leaving_code = %(code)s, leaving_message = %(message)s
WHERE farmer_id = ANY(%(farmer_ids)s) AND status = 'registered' AND registered_by <> 'operator'
  AND registered_at < now() - make_interval(secs => %(seconds)s::float);

-- name: select_registered_farmers
-- Those who wait for funds or a trustline.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers WHERE status = 'registered' AND NOT plants_itself ORDER BY registered_at, farmer_id;

-- name: activate_farmer
UPDATE farmers SET status = 'active', activated_at = now(), registered_from = NULL
WHERE farmer_id = %(farmer_id)s AND status = 'registered';

-- name: fix_fee_rates
-- Who was here before the fee was part of the terms has what the setting says now.
UPDATE farmers SET fee_rate = %(fee_rate)s WHERE fee_rate IS NULL;

------------------------------------------------------------------------------------------------------------------------
-- By themselves

-- name: select_farmers_of_wallet
-- A page of the farmers that a wallet signs in for, oldest first.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers
WHERE owner_wallet = %(owner_wallet)s AND (%(after)s::uuid IS NULL OR farmer_id > %(after)s)
ORDER BY farmer_id
LIMIT %(limit)s;

-- name: count_farmers_of_wallet
SELECT count(*) AS farmers FROM farmers WHERE owner_wallet = %(owner_wallet)s AND status <> 'departed';

-- name: update_wishes
-- What is null stays; `unlimited`: no most it stakes any more. Touches no row of a farmer that leaves.
UPDATE farmers SET stake_percentage = coalesce(%(stake_percentage)s, stake_percentage),
                   stake_most_stroops = CASE WHEN NOT %(unlimited)s THEN coalesce(%(stake_most_stroops)s, stake_most_stroops) END,
                   resumed_at = CASE WHEN paused AND NOT coalesce(%(paused)s, paused) THEN now() ELSE resumed_at END,
                   paused = coalesce(%(paused)s, paused)
WHERE farmer_id = %(farmer_id)s AND status IN ('registered', 'active');

------------------------------------------------------------------------------------------------------------------------
-- Who is there

-- name: select_farmer_of_any_pooler
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers WHERE farmer_id = %(farmer_id)s;

-- name: select_farmer_performance
SELECT * FROM farmer_performance WHERE farmer_id = %(farmer_id)s;

-- name: select_farmers_page
-- A page of farmers, oldest first, after a farmer; of one pooler and of one status unless these are null.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers
WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(after)s::uuid IS NULL OR farmer_id > %(after)s)
ORDER BY farmer_id
LIMIT %(limit)s;

-- name: select_farmers_of_pooler
-- Whom a pooler may plant for (active), and work and harvest for (all that have not departed).
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers
WHERE pooler_id = %(pooler_id)s AND status = ANY(%(statuses)s)
ORDER BY registered_at, farmer_id;

-- name: select_farmers
-- Farmers, oldest first; of one pooler unless pooler_id is null.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, stake_most_stroops, status, metadata,
       registered_at, activated_at, departed_at
FROM farmers
WHERE %(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s
ORDER BY registered_at, farmer_id;
