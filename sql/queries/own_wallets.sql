-- services/own_wallets.py: farmers that plant themselves, with wallets that the pool has no key of.

-- name: insert_self_planter
-- There from now on: nothing has to be brought.
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, stake_percentage,
                     metadata, registered_by, fee_rate, status, activated_at, plants_itself, price_stroops, prepaid_stroops)
VALUES (%(farmer_id)s, %(pooler_id)s, %(wallet)s, '', '', %(wallet)s, 0, %(metadata)s, 'operator', 0, 'active', now(), true,
        %(price_stroops)s, %(prepaid_stroops)s);

-- name: update_self_planting_terms
UPDATE farmers SET price_stroops = %(price_stroops)s, prepaid_stroops = %(prepaid_stroops)s
WHERE farmer_id = %(farmer_id)s AND plants_itself;

-- name: select_served_self_planters
-- Those that are searched and worked for: for nothing, or as long as something is prepaid.
SELECT farmer_id, pooler_id, custodial_wallet AS wallet FROM farmers
WHERE plants_itself AND status IN ('active', 'leaving') AND (price_stroops = 0 OR prepaid_stroops >= price_stroops)
  AND NOT EXISTS (SELECT FROM plantings p WHERE p.block_index = %(block_index)s AND p.farmer_id = farmers.farmer_id
                  AND p.outcome = 'planted')
ORDER BY farmer_id;
