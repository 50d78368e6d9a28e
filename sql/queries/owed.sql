-- services/owed.py: whose turn it is among equals.

-- name: select_owed
-- What each farmer is owed over a range of blocks, both ends included: in every block its equal part of what the pooler's
-- pails earned by their zeros, less what it had; in millionths of what the block's best earned (policy/turns.py).
-- A block counts for its pails, and for whom the pool left out of it: who was active, had been planted before, and was
-- not tried though others were planted. A plant that was tried in vain (no funds, a lost key) gives no claim.
WITH pails AS (
    SELECT p.farmer_id, p.pooler_id, p.block_index,
           least(greatest(coalesce(w.zeros, 0) - b.min_zeros, 0), greatest(b.max_zeros - b.min_zeros, 0))::bigint * 1000000
               / greatest(b.max_zeros - b.min_zeros, 1) AS points
    FROM plantings p
    JOIN blocks b USING (block_index)
    LEFT JOIN (SELECT block_index, farmer_id, max(zeros) AS zeros FROM works
               WHERE outcome = 'worked' AND block_index BETWEEN %(first)s AND %(last)s
               GROUP BY block_index, farmer_id) w USING (block_index, farmer_id)
    WHERE p.outcome = 'planted' AND p.block_index BETWEEN %(first)s AND %(last)s
), left_out AS (
    SELECT f.farmer_id, f.pooler_id, o.block_index, 0::bigint AS points
    FROM (SELECT DISTINCT pooler_id, block_index FROM pails) o
    JOIN (SELECT farmer_id, pooler_id, (SELECT min(block_index) FROM plantings p
                                        WHERE p.farmer_id = f.farmer_id AND p.outcome = 'planted') AS first_index
          FROM farmers f WHERE status = 'active') f ON f.pooler_id = o.pooler_id AND f.first_index < o.block_index
    LEFT JOIN plantings tried ON tried.block_index = o.block_index AND tried.farmer_id = f.farmer_id
    WHERE tried.farmer_id IS NULL
)
SELECT farmer_id, round(sum(part - points)) AS owed
FROM (SELECT farmer_id, points, avg(points) OVER (PARTITION BY pooler_id, block_index) AS part
      FROM (SELECT * FROM pails UNION ALL SELECT * FROM left_out) counted) shared
GROUP BY farmer_id;
