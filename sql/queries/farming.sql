-- services/farming/: plant, work, harvest, and what is owed for lost stakes.

-- name: select_planted
-- Who is planted in a block.
SELECT p.farmer_id, f.custodial_wallet, p.stake_stroops, encode(p.transaction_hash, 'hex') AS transaction_hash, p.ledger
FROM plantings p JOIN farmers f USING (farmer_id)
WHERE p.block_index = %(block_index)s AND p.pooler_id = %(pooler_id)s AND p.outcome = 'planted'
ORDER BY p.created_at, p.farmer_id;

-- name: select_stake_out
-- What a farmer has planted that is neither harvested nor given up as lost.
SELECT coalesce(sum(p.stake_stroops), 0) AS stake_stroops
FROM pails_out(%(farmer_id)s) o JOIN plantings p USING (block_index, farmer_id) WHERE p.outcome = 'planted';

-- name: select_worked
-- Every work that was applied in a block.
SELECT farmer_id, nonce, hash, zeros, gap, encode(transaction_hash, 'hex') AS transaction_hash, ledger
FROM works
WHERE block_index = %(block_index)s AND pooler_id = %(pooler_id)s AND outcome = 'worked'
ORDER BY created_at;

-- name: select_harvested
-- Every harvest of a range of blocks, both ends included.
SELECT block_index, farmer_id, reward_stroops, stake_stroops, forecast_stroops,
       encode(transaction_hash, 'hex') AS transaction_hash
FROM harvests
WHERE pooler_id = %(pooler_id)s AND block_index BETWEEN %(oldest_index)s AND %(newest_index)s AND outcome = 'harvested';

-- name: select_unharvested
-- What was planted since a block and neither harvested nor given up as lost.
SELECT p.block_index, p.farmer_id
FROM plantings p
WHERE p.pooler_id = %(pooler_id)s AND p.block_index >= %(oldest_index)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c
                  WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id);

------------------------------------------------------------------------------------------------------------------------
-- Compensation

-- name: select_work_attempts
-- What was tried to work a pail, in order.
SELECT outcome, code, fault, seconds_left FROM works
WHERE block_index = %(block_index)s AND farmer_id = %(farmer_id)s AND code IS DISTINCT FROM 'not-best'
ORDER BY created_at;

-- name: select_best_zeros
-- The best that anybody found for a farmer in a block.
SELECT coalesce(max(zeros), 0) AS zeros FROM shares
WHERE block_index = %(block_index)s AND farmer_id = %(farmer_id)s;

-- name: select_unworked_beside
-- The other pails of a farmer's block that were never worked, with the most zeros found for each.
SELECT p.stake_stroops AS stake, coalesce(
    (SELECT max(zeros) FROM shares WHERE block_index = p.block_index AND farmer_id = p.farmer_id), 0) AS zeros
FROM plantings p
WHERE p.block_index = %(block_index)s AND p.farmer_id <> %(farmer_id)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM works w
                  WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked');

-- name: insert_compensation
-- Touches no row where it was recorded before. Who plants itself stakes at its own risk.
INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops,
                                  forecast_stroops, standing)
SELECT %(compensation_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, %(fault)s, %(code)s, %(stake_stroops)s,
       %(forecast_stroops)s, %(standing)s
WHERE NOT EXISTS (SELECT FROM farmers WHERE farmer_id = %(farmer_id)s AND plants_itself)
ON CONFLICT (block_index, farmer_id) DO NOTHING;

-- name: note_paid_before
-- What was paid before this database was put back to an older state, and is recorded anew.
UPDATE pooler_compensations c SET paid_transaction = s.transaction_hash, paid_at = s.closed_at
FROM submission_items i JOIN submissions s USING (submission_id)
WHERE c.block_index = %(block_index)s AND c.farmer_id = %(farmer_id)s AND c.paid_at IS NULL AND c.standing = 'owed'
  AND i.action = 'compensate' AND i.status = 'applied' AND i.block_index = c.block_index AND i.farmer_id = c.farmer_id;
