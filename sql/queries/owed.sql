-- services/owed.py: whose turn it is among equals.

-- name: select_owed
-- What each farmer is owed over a range of blocks, both ends included: in every block its equal part of what the pooler's
-- pails had of zeros that pay, the first half a zero more, and of the points for gap, less what it had; in millionths of a
-- zero and of the most gap, and the less the older the block (policy/turns.py).
-- A block counts for its pails, and for whom the pool left out of it: who is active and not paused since, had been planted
-- before, and was not tried though others were planted. A plant that was tried in vain (no funds, a lost key) gives no claim.
WITH tried AS MATERIALIZED (
    SELECT block_index, pooler_id, farmer_id, bool_or(outcome = 'planted') AS planted FROM plantings
    WHERE block_index BETWEEN %(first)s AND %(last)s GROUP BY block_index, pooler_id, farmer_id
), best AS (
    SELECT block_index, farmer_id, max(zeros) AS zeros, max(gap) AS gap FROM works
    WHERE outcome = 'worked' AND block_index BETWEEN %(first)s AND %(last)s GROUP BY block_index, farmer_id
), pails AS MATERIALIZED (
    SELECT t.farmer_id, t.pooler_id, t.block_index,
           least(greatest(coalesce(w.zeros, 0) - b.min_zeros, 0), greatest(b.max_zeros - b.min_zeros, 0))
               + CASE WHEN w.zeros > b.min_zeros AND b.max_zeros > b.min_zeros THEN 0.5 ELSE 0 END AS zeros,
           least(greatest(coalesce(w.gap, 0) - b.min_gap, 0), greatest(b.max_gap - b.min_gap, 0))::float8
               / greatest(b.max_gap - b.min_gap, 1) AS gap
    FROM tried t JOIN blocks b USING (block_index) LEFT JOIN best w USING (block_index, farmer_id)
    WHERE t.planted
), present AS MATERIALIZED (
    SELECT f.farmer_id, f.pooler_id,
           greatest((SELECT min(p.block_index) FROM plantings p WHERE p.farmer_id = f.farmer_id AND p.outcome = 'planted'),
                    (SELECT max(b.block_index) FROM blocks b WHERE b.started_at <= f.resumed_at)) AS first_index
    FROM farmers f WHERE f.status = 'active' AND NOT f.paused AND NOT f.plants_itself
), counted AS MATERIALIZED (
    SELECT * FROM pails
    UNION ALL
    SELECT f.farmer_id, f.pooler_id, o.block_index, 0, 0
    FROM (SELECT DISTINCT pooler_id, block_index FROM pails) o
    JOIN present f ON f.pooler_id = o.pooler_id AND f.first_index < o.block_index
    LEFT JOIN tried t ON t.block_index = o.block_index AND t.farmer_id = f.farmer_id
    WHERE t.farmer_id IS NULL
), parts AS MATERIALIZED (
    SELECT pooler_id, block_index, avg(zeros) AS zeros, avg(gap) AS gap,
           (block_index - %(first)s + 1) / (%(last)s - %(first)s + 1.0) AS weight
    FROM counted GROUP BY pooler_id, block_index
)
SELECT c.farmer_id, round(1000000 * sum(p.weight::float8 * (p.zeros - c.zeros))) AS zeros,
       round(1000000 * sum(p.weight::float8 * (p.gap - c.gap))) AS gap
FROM counted c JOIN parts p USING (pooler_id, block_index)
GROUP BY c.farmer_id;
