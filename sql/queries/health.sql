-- services/health.py: whether the parts of the pool are there.

-- name: select_worker_counts
-- Our workers that were heard of just now, with the machines of the last day and those of them that have none any more. A
-- node is named machine/number, and gets another number whenever Ray starts there.
SELECT coalesce(sum(heard), 0)::bigint AS heard, coalesce(sum(rate), 0) AS hashes_per_second,
       count(*) AS machines, count(*) FILTER (WHERE heard = 0) AS machines_gone, max(last_seen_at) AS last_seen_at
FROM (
    SELECT count(*) FILTER (WHERE is_here) AS heard, sum(hashes_per_second) FILTER (WHERE is_here) AS rate,
           max(last_seen_at) AS last_seen_at
    FROM (SELECT *, status = 'alive' AND last_seen_at > now() - make_interval(secs => %(silent_seconds)s) AS is_here
          FROM workers WHERE last_seen_at > now() - interval '1 day') w
    GROUP BY split_part(node, '/', 1)) machine;

-- name: select_awaited
-- For how many seconds our workers are awaited: since the newest of those who lead began, the API's or a coordinator's.
-- No row where one has joined since.
SELECT extract(epoch FROM now() - began.at)::float AS seconds
FROM (SELECT greatest((SELECT taken_at FROM api_lead WHERE term > 0),
                      (SELECT max(taken_at) FROM coordinator_leases WHERE NOT given_up)) AS at) began
WHERE began.at IS NOT NULL AND NOT EXISTS (SELECT FROM workers WHERE joined_at >= began.at);

-- name: count_unsearched
-- Farmers planted and not worked in blocks that began a while ago and that nobody searches for: no worker, no miner.
SELECT count(*) AS farmers, coalesce(sum(p.stake_stroops), 0) AS stake_stroops
FROM poolers e CROSS JOIN LATERAL (
    SELECT pooler_id, block_index, status, seen_at FROM block_operations
    WHERE pooler_id = e.pooler_id ORDER BY block_index DESC LIMIT 1) o
JOIN plantings p ON p.block_index = o.block_index AND p.pooler_id = o.pooler_id AND p.outcome = 'planted'
WHERE o.status = 'open' AND o.seen_at < now() - make_interval(secs => %(early_seconds)s)
  AND NOT EXISTS (SELECT FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked')
  AND NOT EXISTS (SELECT FROM workers WHERE status = 'alive' AND last_seen_at > now() - make_interval(secs => %(silent_seconds)s))
  AND NOT EXISTS (SELECT FROM hashrates JOIN rigs USING (searcher)
                  WHERE sampled_at > now() - make_interval(secs => %(silent_seconds)s));
