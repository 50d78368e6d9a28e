-- services/coordinators.py: which coordinators run for a pooler, and which of them leads. All times are this server's.

-- name: look_at_lease
-- Who leads as long as its lease runs; and, where that is to be told, that this coordinator is here. A lease that would run
-- for longer than any is given is of before a clock was set back.
WITH here AS (
    INSERT INTO coordinators (coordinator_id, pooler_id, place)
    SELECT %(coordinator_id)s, %(pooler_id)s, %(place)s WHERE %(tells)s
    ON CONFLICT (coordinator_id) DO UPDATE SET seen_at = now())
SELECT fence, place FROM coordinator_leases
WHERE pooler_id = %(pooler_id)s AND expires_at BETWEEN clock_timestamp() AND clock_timestamp() + interval '2 minutes';

-- name: take_lease
-- The lease for whoever asks first once it has run out. Waits for the transactions of the one before.
INSERT INTO coordinator_leases AS l (pooler_id, fence, coordinator_id, place, taken_at, expires_at)
VALUES (%(pooler_id)s, 1, %(coordinator_id)s, %(place)s, clock_timestamp(),
        clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (pooler_id) DO UPDATE
SET fence = l.fence + 1, coordinator_id = excluded.coordinator_id, place = excluded.place, taken_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => %(seconds)s), given_up = false,
    taken_from = CASE WHEN NOT l.given_up THEN l.place END
WHERE l.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '2 minutes'
RETURNING fence, taken_from;

-- name: renew_lease
-- Also one that has run out, as long as nobody else took it.
WITH here AS (
    INSERT INTO coordinators (coordinator_id, pooler_id, place) VALUES (%(coordinator_id)s, %(pooler_id)s, %(place)s)
    ON CONFLICT (coordinator_id) DO UPDATE SET seen_at = now())
UPDATE coordinator_leases SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE pooler_id = %(pooler_id)s AND fence = %(fence)s;

-- name: give_up_lease
UPDATE coordinator_leases SET expires_at = clock_timestamp(), given_up = true
WHERE pooler_id = %(pooler_id)s AND fence = %(fence)s;

-- name: forget_coordinator
-- One that ends, and those that were not heard of for an hour.
DELETE FROM coordinators WHERE coordinator_id = %(coordinator_id)s OR seen_at < now() - interval '1 hour';

-- name: select_leads
-- Whether this number is its pooler's newest. Who only reads need not ask; who writes is asked again as it does.
SELECT FROM coordinator_leases WHERE pooler_id = %(pooler_id)s AND fence = %(fence)s;

-- name: select_coordinating
-- The poolers whose coordinator was heard of within a day: who leads, for how long, or for how long nobody has, and how many
-- others were heard of just now.
SELECT p.pooler_id, p.name AS pooler, l.fence, l.place, l.taken_at, l.expires_at, l.taken_from, l.given_up,
       extract(epoch FROM now() - l.taken_at)::float AS led_seconds,
       greatest(extract(epoch FROM now() - l.expires_at), 0)::float AS leaderless_seconds,
       (SELECT count(*) FROM coordinators c
        WHERE c.pooler_id = l.pooler_id AND c.seen_at > now() - make_interval(secs => %(silent_seconds)s)
          AND c.coordinator_id <> l.coordinator_id) AS standing_by
FROM coordinator_leases l JOIN poolers p USING (pooler_id)
WHERE p.status = 'active' AND l.expires_at > now() - interval '1 day'
ORDER BY p.created_at, p.pooler_id;
