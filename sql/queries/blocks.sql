-- services/blocks.py: what was planted, worked and harvested, block by block.

-- name: select_block_farmers
-- Every farmer with an event in a block, of one pooler unless pooler_id is null.
SELECT e.pooler_id, e.farmer_id, f.custodial_wallet,
       p.stake_stroops IS NOT NULL AS planted, p.stake_stroops,
       w.zeros IS NOT NULL AS worked, w.zeros, w.gap,
       h.reward_stroops IS NOT NULL AS harvested, h.reward_stroops, h.forecast_stroops,
       x.code AS failed_code, x.fault AS failed_fault
FROM (SELECT pooler_id, farmer_id FROM plantings WHERE block_index = %(block_index)s
      UNION SELECT pooler_id, farmer_id FROM works WHERE block_index = %(block_index)s
      UNION SELECT pooler_id, farmer_id FROM harvests WHERE block_index = %(block_index)s) e
JOIN farmers f USING (farmer_id)
LEFT JOIN plantings p ON p.block_index = %(block_index)s AND p.farmer_id = e.farmer_id AND p.outcome = 'planted'
LEFT JOIN LATERAL (
    SELECT zeros, gap FROM works
    WHERE block_index = %(block_index)s AND farmer_id = e.farmer_id AND outcome = 'worked'
    ORDER BY zeros DESC LIMIT 1) w ON true
LEFT JOIN harvests h ON h.block_index = %(block_index)s AND h.farmer_id = e.farmer_id AND h.outcome = 'harvested'
LEFT JOIN LATERAL (
    SELECT code, fault FROM (
        SELECT code, fault, created_at FROM plantings
        WHERE block_index = %(block_index)s AND farmer_id = e.farmer_id AND outcome = 'failed'
        UNION ALL
        SELECT code, fault, created_at FROM works
        WHERE block_index = %(block_index)s AND farmer_id = e.farmer_id AND outcome <> 'worked'
        UNION ALL
        SELECT code, fault, created_at FROM harvests
        WHERE block_index = %(block_index)s AND farmer_id = e.farmer_id AND outcome = 'failed') failures
    ORDER BY created_at DESC LIMIT 1) x ON true
WHERE %(pooler_id)s::uuid IS NULL OR e.pooler_id = %(pooler_id)s
ORDER BY e.pooler_id, e.farmer_id;

-- name: select_pooler_blocks
-- A page of a pooler's blocks, the newest first, with how much of each was done.
SELECT block_index, status, started_at, seen_at, closed_at, planted, staked_stroops, worked, best_zeros, harvested,
       rewarded_stroops, forecast_stroops, coalesce(p.farmers - p.places, 0) AS sat_out, p.reason AS sat_out_reason
FROM block_completion LEFT JOIN block_plans p USING (block_index, pooler_id)
WHERE pooler_id = %(pooler_id)s AND block_index < %(before)s
ORDER BY block_index DESC
LIMIT %(limit)s;

-- name: select_farmer_blocks
-- A farmer's blocks below `before` and not below `oldest`, the newest first: what was planted, worked and harvested,
-- the forecast against what was received, what is owed for a lost stake, and the last failure.
SELECT i.block_index, b.started_at,
       p.stake_stroops, encode(p.transaction_hash, 'hex') AS plant_transaction,
       w.nonce, encode(w.hash, 'hex') AS hash, w.zeros, w.gap, encode(w.transaction_hash, 'hex') AS work_transaction,
       h.forecast_stroops, h.reward_stroops, h.reward_stroops - h.forecast_stroops AS difference_stroops, h.solo,
       encode(h.transaction_hash, 'hex') AS harvest_transaction,
       c.stake_stroops + c.forecast_stroops AS owed_stroops, c.fault AS owed_by, c.code AS owed_code,
       encode(c.paid_transaction, 'hex') AS owed_paid_transaction,
       x.code AS failed_code, x.fault AS failed_fault, x.message AS failed_message
FROM (SELECT block_index FROM
        ((SELECT DISTINCT block_index FROM plantings
          WHERE farmer_id = %(farmer_id)s AND block_index < %(before)s AND block_index >= %(oldest)s
          ORDER BY block_index DESC LIMIT %(limit)s)
         UNION
         (SELECT DISTINCT block_index FROM works
          WHERE farmer_id = %(farmer_id)s AND block_index < %(before)s AND block_index >= %(oldest)s
          ORDER BY block_index DESC LIMIT %(limit)s)
         UNION
         (SELECT DISTINCT block_index FROM harvests
          WHERE farmer_id = %(farmer_id)s AND block_index < %(before)s AND block_index >= %(oldest)s
          ORDER BY block_index DESC LIMIT %(limit)s)) every
      ORDER BY block_index DESC LIMIT %(limit)s) i
LEFT JOIN blocks b USING (block_index)
LEFT JOIN plantings p ON p.block_index = i.block_index AND p.farmer_id = %(farmer_id)s AND p.outcome = 'planted'
LEFT JOIN LATERAL (
    SELECT nonce, hash, zeros, gap, transaction_hash FROM works
    WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome = 'worked'
    ORDER BY zeros DESC LIMIT 1) w ON true
LEFT JOIN harvests h ON h.block_index = i.block_index AND h.farmer_id = %(farmer_id)s AND h.outcome = 'harvested'
LEFT JOIN pooler_compensations c ON c.block_index = i.block_index AND c.farmer_id = %(farmer_id)s AND c.standing = 'owed'
LEFT JOIN LATERAL (
    SELECT code, fault, message FROM (
        SELECT event_id, code, fault, message FROM plantings
        WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome = 'failed'
        UNION ALL
        SELECT event_id, code, fault, message FROM works
        WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome <> 'worked'
        UNION ALL
        SELECT event_id, code, fault, message FROM harvests
        WHERE block_index = i.block_index AND farmer_id = %(farmer_id)s AND outcome = 'failed') failures
    ORDER BY event_id DESC LIMIT 1) x ON true
ORDER BY i.block_index DESC;
