-- services/health.py: whether the parts of the pool are there.

-- name: select_nothing
-- Whether the database answers.
SELECT 1 AS answer;

-- name: select_worker_counts
-- Searchers that should be there, and how many of them were not heard of for too long.
SELECT count(*) AS workers,
       count(*) FILTER (WHERE last_seen_at < now() - make_interval(secs => %(silent_seconds)s)) AS silent,
       coalesce(sum(hashes_per_second), 0) AS hashes_per_second
FROM workers WHERE status = 'alive';
