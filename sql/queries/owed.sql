-- services/owed.py: whose turn it is among equals.

-- name: select_owed
-- What each farmer is owed over a range of blocks, both ends included: in every block its equal part of what the pooler's
-- pails earned by their zeros, less what it had; in millionths of what the block's best earned (policy/turns.py).
SELECT farmer_id, round(sum(mean_points - points)) AS owed
FROM (
    SELECT farmer_id, points, avg(points) OVER (PARTITION BY pooler_id, block_index) AS mean_points
    FROM (
        SELECT p.farmer_id, p.pooler_id, p.block_index,
               least(greatest(coalesce(w.zeros, 0) - b.min_zeros, 0), greatest(b.max_zeros - b.min_zeros, 0))::bigint * 1000000
                   / greatest(b.max_zeros - b.min_zeros, 1) AS points
        FROM plantings p
        JOIN blocks b USING (block_index)
        LEFT JOIN (SELECT block_index, farmer_id, max(zeros) AS zeros FROM works
                   WHERE outcome = 'worked' AND block_index BETWEEN %(first)s AND %(last)s
                   GROUP BY block_index, farmer_id) w USING (block_index, farmer_id)
        WHERE p.outcome = 'planted' AND p.block_index BETWEEN %(first)s AND %(last)s) pails) shared
GROUP BY farmer_id;
