-- What only the API's answers need.

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
