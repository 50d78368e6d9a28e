-- services/upkeep.py: what nobody asked for any more.

-- name: select_forgotten
-- What was planted up to a block and neither harvested nor given up as lost; what farmers planted themselves, if it was
-- worked. The newest blocks are read whole, whatever is settled of them.
SELECT p.block_index, p.pooler_id, p.farmer_id
FROM (SELECT block_index, farmer_id FROM pails_out(NULL) WHERE block_index <= %(newest_index)s
      UNION
      SELECT block_index, farmer_id FROM plantings
      WHERE block_index BETWEEN %(newest_index)s - %(blocks)s AND %(newest_index)s AND outcome = 'planted') o
JOIN plantings p ON p.block_index = o.block_index AND p.farmer_id = o.farmer_id AND p.outcome = 'planted'
JOIN farmers f ON f.farmer_id = o.farmer_id
WHERE NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
  AND (NOT f.plants_itself OR EXISTS (SELECT FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id
                                     AND w.outcome = 'worked'))
ORDER BY p.block_index
LIMIT 1000;

-- name: select_never_worked
-- What was planted up to a block, never worked, and neither looked at since nor given up as lost. Nothing is in flight.
SELECT p.block_index, p.pooler_id, p.farmer_id
FROM plantings p JOIN farmers f USING (farmer_id)
WHERE p.block_index BETWEEN %(oldest_index)s AND %(newest_index)s AND p.outcome = 'planted'
  AND f.status IN ('active', 'leaving') AND NOT f.plants_itself
  AND NOT EXISTS (SELECT FROM works w
                  WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked')
  AND NOT EXISTS (SELECT FROM harvests h WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id)
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
  AND NOT EXISTS (SELECT FROM submission_items i
                  WHERE i.block_index = p.block_index AND i.farmer_id = p.farmer_id AND i.action = 'work'
                    AND i.status = 'open')
ORDER BY p.block_index
LIMIT 1000;
