-- services/owed.py: whose turn it is among equals.

-- name: select_owed
-- What each farmer is owed over a range of blocks, both ends included: in every block its equal part of what the pooler's
-- pails had of zeros that pay, where the first counts `first_counts` zeros more, and of the reward that gap and zeros brought,
-- less what it had; in millionths of a zero and of the mean pail's reward, and the less the older the block (policy/turns.py).
-- Points are those of protocol/rewards.py. Who plants by itself chose its gap, and is owed no reward.
-- A block counts for its pails, and for whom the pool left out of it: who is active and not paused since, had been planted
-- before, and was not tried though others were planted. A plant that was tried in vain (no funds, a lost key) gives no claim.
WITH tried AS MATERIALIZED (
    SELECT block_index, pooler_id, farmer_id, bool_or(outcome = 'planted') AS planted,
           max(stake_stroops) FILTER (WHERE outcome = 'planted') AS stake
    FROM plantings WHERE block_index BETWEEN %(first)s AND %(last)s GROUP BY block_index, pooler_id, farmer_id
), best AS (
    SELECT block_index, farmer_id, max(zeros) AS zeros, max(gap) AS gap FROM works
    WHERE outcome = 'worked' AND block_index BETWEEN %(first)s AND %(last)s GROUP BY block_index, farmer_id
), bounds AS (
    SELECT block_index, min_gap, max_gap, min_zeros, max_zeros, min_stake_stroops AS min_stake, max_stake_stroops AS max_stake,
           greatest(max_gap - min_gap, max_zeros - min_zeros, max_stake_stroops - min_stake_stroops, 1)::float8 AS scale
    FROM blocks WHERE block_index BETWEEN %(first)s AND %(last)s
), counting AS (
    SELECT t.farmer_id, t.pooler_id, f.plants_itself, b.*, w.zeros IS NOT NULL AS worked,
           greatest(least(coalesce(w.gap, 0), b.max_gap) - b.min_gap, 0) AS gap,
           greatest(least(coalesce(w.zeros, 0), b.max_zeros) - b.min_zeros, 0) AS zeros,
           greatest(least(t.stake, b.max_stake) - b.min_stake, 0) AS stake
    FROM tried t JOIN bounds b USING (block_index) JOIN farmers f USING (farmer_id)
    LEFT JOIN best w USING (block_index, farmer_id)
    WHERE t.planted
), points AS (
    SELECT farmer_id, pooler_id, block_index, plants_itself,
           zeros + CASE WHEN zeros > 0 THEN %(first_counts)s::float8 ELSE 0 END AS zeros,
           CASE WHEN worked THEN greatest(floor(gap * scale / greatest(max_gap - min_gap, 1)), 1)
                                 + greatest(floor(zeros * scale / greatest(max_zeros - min_zeros, 1)), 1) END AS found,
           greatest(floor(stake * scale / greatest(max_stake - min_stake, 1)), 1) AS staked
    FROM counting
), pails AS MATERIALIZED (
    SELECT farmer_id, pooler_id, block_index, zeros, CASE WHEN NOT plants_itself THEN
               coalesce(found / avg(coalesce(found + staked, 0)) OVER (PARTITION BY pooler_id, block_index, plants_itself), 0)
           END AS reward
    FROM points
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
    SELECT pooler_id, block_index, avg(zeros) AS zeros, avg(reward) AS reward,
           (block_index - %(first)s + 1) / (%(last)s - %(first)s + 1.0) AS weight
    FROM counted GROUP BY pooler_id, block_index
)
SELECT c.farmer_id, round(1000000 * sum(p.weight::float8 * (p.zeros - c.zeros))) AS zeros,
       coalesce(round(1000000 * sum(p.weight::float8 * (p.reward - c.reward))), 0) AS reward
FROM counted c JOIN parts p USING (pooler_id, block_index)
GROUP BY c.farmer_id;
