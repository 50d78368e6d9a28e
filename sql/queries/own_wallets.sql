-- services/own_wallets.py: farmers that plant themselves, with wallets that the pool has no key of.

-- name: insert_self_planter
-- By an operator: there from now on, nothing has to be brought. By its owner: once it has prepaid.
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, stake_percentage,
                     metadata, registered_by, registered_from, fee_rate, status, activated_at, owner_wallet, plants_itself,
                     price_stroops, prepaid_stroops)
VALUES (%(farmer_id)s, %(pooler_id)s, %(wallet)s, '', '', %(wallet)s, 0, %(metadata)s, %(registered_by)s, %(registered_from)s,
        0, %(status)s, CASE %(status)s WHEN 'active' THEN now() END, %(wallet)s, true, %(price_stroops)s, %(prepaid_stroops)s);

-- name: return_self_planter
-- One that has left, registered again by its owner: what it had prepaid is still there.
UPDATE farmers SET status = 'registered', returned_at = now(), registered_from = %(registered_from)s, metadata = %(metadata)s,
                   price_stroops = %(price_stroops)s, activated_at = NULL, departed_at = NULL, leaving_at = NULL,
                   leaving_retry_at = NULL, leaving_code = NULL, leaving_message = NULL
WHERE custodial_wallet = %(wallet)s AND owner_wallet = %(wallet)s AND pooler_id = %(pooler_id)s AND plants_itself
  AND status = 'departed'
RETURNING farmer_id;

-- name: select_waiting_self_planters
-- Registered by their owners, and not let in yet: the longest first.
SELECT farmer_id, pooler_id, custodial_wallet, payout_wallet, stake_percentage, status, metadata, registered_at,
       activated_at, secret_sealed, deposit_stroops, payout_memo, owner_wallet, paused, stake_most_stroops,
       plants_itself, price_stroops, prepaid_stroops
FROM farmers WHERE plants_itself AND status = 'registered' ORDER BY registered_at, farmer_id;

-- name: lapse_self_planters
-- Those that have not prepaid in time.
UPDATE farmers SET status = 'departed', departed_at = now(), registered_from = NULL, leaving_code = %(code)s,
                   leaving_message = %(message)s
WHERE plants_itself AND status = 'registered' AND prepaid_stroops < greatest(price_stroops, 1)
  AND coalesce(returned_at, registered_at) < now() - make_interval(secs => %(seconds)s::float);

-- name: note_prepayment
-- Once for each event; no row where the wallet is no such farmer's, or the event was noted before.
WITH noted AS (
    INSERT INTO prepayments (event_id, farmer_id, amount_stroops, ledger, transaction_hash)
    SELECT %(event_id)s, farmer_id, %(amount_stroops)s, %(ledger)s, %(transaction_hash)s
    FROM farmers WHERE custodial_wallet = %(wallet)s AND plants_itself
    ON CONFLICT DO NOTHING
    RETURNING farmer_id, amount_stroops)
UPDATE farmers f SET prepaid_stroops = f.prepaid_stroops + noted.amount_stroops FROM noted WHERE f.farmer_id = noted.farmer_id
RETURNING f.farmer_id;

-- name: update_self_planting_terms
UPDATE farmers SET price_stroops = %(price_stroops)s, prepaid_stroops = %(prepaid_stroops)s
WHERE farmer_id = %(farmer_id)s AND plants_itself;

-- name: select_served_self_planters
-- Those whose plants count from now on: for nothing, or as long as something is prepaid. Who leaves plants for itself alone.
SELECT farmer_id, pooler_id, custodial_wallet AS wallet FROM farmers
WHERE plants_itself AND status = 'active' AND (price_stroops = 0 OR prepaid_stroops >= price_stroops)
  AND NOT EXISTS (SELECT FROM plantings p WHERE p.block_index = %(block_index)s AND p.farmer_id = farmers.farmer_id
                  AND p.outcome = 'planted')
ORDER BY farmer_id;
