-- Stakes that do not come back once their block is over: never worked, with no work in flight, or found to be lost.
CREATE VIEW lost_stakes AS
SELECT p.block_index, p.farmer_id, p.stake_stroops
FROM plantings p
LEFT JOIN pooler_compensations c USING (block_index, farmer_id)
WHERE p.outcome = 'planted'
  AND (c.standing = 'owed' OR (c.compensation_id IS NULL AND
    NOT EXISTS (SELECT FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked')
    AND NOT EXISTS (SELECT FROM harvests h WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
    AND NOT EXISTS (SELECT FROM submission_items i WHERE i.block_index = p.block_index AND i.farmer_id = p.farmer_id
                    AND i.action = 'work' AND i.status = 'open')));
