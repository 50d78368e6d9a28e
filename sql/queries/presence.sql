-- services/presence.py: when the pool itself was away.

-- name: beat
-- The pool is there. Where it was not for so long, that is kept.
WITH absence AS (
    INSERT INTO pool_absences (begun_at, ended_at)
    SELECT seen_at, now() FROM pool_presence WHERE seen_at < now() - make_interval(secs => %(away_seconds)s))
UPDATE pool_presence SET seen_at = now();

-- name: select_seconds_away
-- For how long the pool was away between two times.
SELECT coalesce(sum(extract(epoch FROM least(ended_at, %(end)s) - greatest(begun_at, %(begin)s))), 0)::float AS seconds
FROM pool_absences WHERE ended_at > %(begin)s AND begun_at < %(end)s;
