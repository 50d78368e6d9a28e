-- services/poolers.py: who runs farmers, and what each sees of its own.

-- name: insert_pooler
-- A new pooler; nothing where the name is taken.
INSERT INTO poolers (pooler_id, name, max_farmers)
VALUES (%(pooler_id)s, %(name)s, %(max_farmers)s)
ON CONFLICT (name) DO NOTHING;

-- name: select_pooler_by_name
SELECT pooler_id, name, max_farmers, status, created_at, last_seen_at FROM poolers WHERE name = %(name)s;

-- name: touch_pooler
-- A pooler by its id, seen now. Written at most every ten seconds.
WITH seen AS (
    UPDATE poolers SET last_seen_at = now()
    WHERE pooler_id = %(pooler_id)s AND (last_seen_at IS NULL OR last_seen_at < now() - interval '10 seconds')
)
SELECT pooler_id, name, max_farmers, status, open,
       planting_paused OR (SELECT planting_paused FROM pool_switches) AS planting_paused, created_at, last_seen_at
FROM poolers WHERE pooler_id = %(pooler_id)s;

-- name: select_pooler_is_open
SELECT 1 AS open FROM poolers WHERE pooler_id = %(pooler_id)s AND open AND status = 'active';

-- name: select_open_poolers
-- A page of the poolers that farmers may register with by themselves.
SELECT p.pooler_id, p.name, p.max_farmers,
       (SELECT count(*) FROM farmers f WHERE f.pooler_id = p.pooler_id AND f.status IN ('active', 'leaving')) AS farmers
FROM poolers p
WHERE p.open AND p.status = 'active' AND (%(after)s::uuid IS NULL OR p.pooler_id > %(after)s)
ORDER BY p.pooler_id
LIMIT %(limit)s;

-- name: select_pooler_summary
-- A pooler with how many farmers it has in each state, and what is owed to them and not paid.
SELECT p.pooler_id, p.name, p.max_farmers, p.status, p.open,
       p.planting_paused OR (SELECT planting_paused FROM pool_switches) AS planting_paused, p.created_at, p.last_seen_at,
       f.registered, f.active, f.leaving, f.departed, c.unpaid, c.owed_stroops, c.to_check
FROM poolers p
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'registered') AS registered, count(*) FILTER (WHERE status = 'active') AS active,
           count(*) FILTER (WHERE status = 'leaving') AS leaving, count(*) FILTER (WHERE status = 'departed') AS departed
    FROM farmers WHERE pooler_id = p.pooler_id) f
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE standing = 'owed') AS unpaid,
           coalesce(sum(stake_stroops + forecast_stroops) FILTER (WHERE standing = 'owed'), 0) AS owed_stroops,
           count(*) FILTER (WHERE standing = 'to-check') AS to_check
    FROM pooler_compensations WHERE pooler_id = p.pooler_id AND paid_at IS NULL) c
WHERE (%(pooler_id)s::uuid IS NULL OR p.pooler_id = %(pooler_id)s) AND (%(after)s::uuid IS NULL OR p.pooler_id > %(after)s)
ORDER BY p.pooler_id
LIMIT %(limit)s;

-- name: select_failures
-- A page of a pooler's failures, the newest first.
SELECT * FROM (
    (SELECT event_id, 'plant' AS action, block_index, farmer_id, outcome, code, message, fault, NULL::numeric AS nonce, created_at
     FROM plantings
     WHERE pooler_id = %(pooler_id)s AND outcome <> 'planted' AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
       AND (%(block_index)s::bigint IS NULL OR block_index = %(block_index)s)
     ORDER BY event_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, 'work', block_index, farmer_id, outcome, code, message, fault, nonce, created_at
     FROM works
     WHERE pooler_id = %(pooler_id)s AND outcome <> 'worked' AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
       AND (%(block_index)s::bigint IS NULL OR block_index = %(block_index)s)
     ORDER BY event_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, 'harvest', block_index, farmer_id, outcome, code, message, fault, NULL, created_at
     FROM harvests
     WHERE pooler_id = %(pooler_id)s AND outcome <> 'harvested' AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
       AND (%(block_index)s::bigint IS NULL OR block_index = %(block_index)s)
     ORDER BY event_id DESC LIMIT %(limit)s)) failures
ORDER BY event_id DESC
LIMIT %(limit)s;
