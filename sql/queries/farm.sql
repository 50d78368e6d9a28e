-- view/farm.py: one farmer, as its own wallet sees it.

-- name: select_farm_totals
-- What a farmer earned lately and in all, what it lost, what the pool keeps of it, and what the network charged for it:
-- the pool paid that, but for what a farmer paid before it was active.
SELECT coalesce(f.fee_rate, 0)::float8 AS fee_rate, f.leaving_at,
       h.day_stroops, h.week_stroops, h.all_stroops, h.forecast_stroops, h.forecast_known_stroops,
       lost.lost_stakes, lost.lost_stroops, lost.owed_stroops,
       coalesce((SELECT sum(amount_stroops) FROM transfers WHERE debit = 'farmer/' || f.farmer_id AND event = 'fee'), 0) AS fee_stroops,
       coalesce((SELECT sum(s.fee_stroops / n.items) FROM submission_items i JOIN submissions s USING (submission_id)
                 CROSS JOIN LATERAL (SELECT count(*) AS items FROM submission_items j WHERE j.submission_id = s.submission_id) n
                 WHERE i.farmer_id = f.farmer_id), 0)::bigint AS network_fee_stroops
FROM farmers f
CROSS JOIN LATERAL (
    SELECT coalesce(sum(reward_stroops) FILTER (WHERE created_at > now() - interval '1 day'), 0) AS day_stroops,
           coalesce(sum(reward_stroops) FILTER (WHERE created_at > now() - interval '7 days'), 0) AS week_stroops,
           coalesce(sum(reward_stroops), 0) AS all_stroops,
           coalesce(sum(forecast_stroops), 0) AS forecast_stroops,
           coalesce(sum(reward_stroops) FILTER (WHERE forecast_stroops IS NOT NULL), 0) AS forecast_known_stroops
    FROM harvests WHERE farmer_id = f.farmer_id AND outcome = 'harvested') h
CROSS JOIN LATERAL (
    SELECT count(*) AS lost_stakes, coalesce(sum(stake_stroops), 0) AS lost_stroops,
           coalesce(sum(stake_stroops + forecast_stroops) FILTER (WHERE paid_at IS NULL), 0) AS owed_stroops
    FROM pooler_compensations WHERE farmer_id = f.farmer_id AND standing = 'owed') lost
WHERE f.farmer_id = %(farmer_id)s;

-- name: select_farm_planted
-- Stakes that are out: planted, neither harvested nor lost.
SELECT p.block_index, p.stake_stroops, p.created_at FROM plantings p
WHERE p.farmer_id = %(farmer_id)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
ORDER BY p.block_index;

-- name: select_farm_place
-- Whether the pooler of a farmer has a place for one more.
SELECT p.max_farmers > (SELECT count(*) FROM farmers o
                        WHERE o.pooler_id = p.pooler_id AND o.status IN ('active', 'leaving')) AS has_place
FROM farmers f JOIN poolers p USING (pooler_id) WHERE f.farmer_id = %(farmer_id)s;

-- name: select_farm_entries
-- What the books have of a farmer within a time, by what it means for it: what comes is more than 0, what goes is less.
SELECT number, posted_at, event,
       CASE WHEN credit = 'farmer/' || %(farmer_id)s::text THEN amount_stroops ELSE -amount_stroops END AS amount_stroops,
       block_index, encode(transaction_hash, 'hex') AS transaction_hash, ledger, note
FROM (SELECT * FROM transfers WHERE debit = 'farmer/' || %(farmer_id)s::text
      UNION ALL SELECT * FROM transfers WHERE credit = 'farmer/' || %(farmer_id)s::text) t
WHERE posted_at >= %(since)s AND posted_at < %(until)s AND number > %(after)s
ORDER BY number
LIMIT %(limit)s;
