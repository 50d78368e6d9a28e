-- services/alerts.py: what operators are told of: what is wrong, what was said of it, and what is still to be said.

-- name: select_missed_farmers
-- Farmers that could have been planted for in this block, which is over, and were not, if nobody was; and the first
-- block of those one after another of which that is true: after the last one planted in, and after an operator last
-- paused, resumed or changed something, as far as blocks since then were read.
SELECT count(*) AS farmers, coalesce(greatest(
    (SELECT max(block_index) + 1 FROM plantings WHERE block_index < %(block_index)s AND outcome = 'planted'),
    (SELECT min(block_index) FROM blocks
     WHERE started_at >= greatest(
         min(f.activated_at),
         (SELECT max(created_at) FROM operator_actions
          WHERE action IN ('pause-planting', 'resume-planting', 'change-pooler'))))), %(block_index)s) AS first_index
FROM farmers f JOIN poolers p USING (pooler_id)
WHERE f.status = 'active' AND NOT f.paused AND f.activated_at < %(started_by)s AND p.status = 'active' AND NOT p.planting_paused
  AND NOT (SELECT planting_paused FROM pool_switches)
  AND NOT EXISTS (SELECT FROM plantings WHERE block_index = %(block_index)s AND outcome = 'planted');

-- name: select_lost_stakes
-- What these blocks, which are over, lost.
SELECT block_index, count(*) AS farmers, sum(stake_stroops) AS stake_stroops
FROM lost_stakes
WHERE block_index BETWEEN %(first_index)s AND %(last_index)s
GROUP BY block_index;

-- name: select_wrong_forecasts
-- Harvests of these blocks that brought something else than their final forecast.
SELECT block_index, count(*) AS farmers, sum(reward_stroops) AS reward_stroops, sum(forecast_stroops) AS forecast_stroops
FROM harvests
WHERE outcome = 'harvested' AND block_index BETWEEN %(first_index)s AND %(last_index)s AND forecast_stroops <> reward_stroops
GROUP BY block_index;

-- name: select_gone_machines
-- Machines whose workers of a kind are all silent: heard of within the last day, or told of before and not forgotten. A
-- node is named machine/number, and gets another number whenever Ray starts there.
SELECT machine, kind
FROM (SELECT split_part(node, '/', 1) AS machine, kind, status, last_seen_at FROM workers) w
GROUP BY machine, kind
HAVING NOT coalesce(
        bool_or(status = 'alive' AND last_seen_at > now() - make_interval(secs => %(silent_seconds)s)), false)
   AND max(last_seen_at) < now() - make_interval(secs => %(silent_seconds)s)
   AND (max(last_seen_at) > now() - interval '1 day'
        OR EXISTS (SELECT FROM alerts WHERE key = 'worker-gone:' || machine || ':' || kind AND resolved_at IS NULL))
ORDER BY machine, kind;

-- name: forget_gone_machines
-- After a day nobody waits for a machine any more. That is no good news, so it is not told.
UPDATE alerts SET resolved_at = now(), end_told_at = now()
WHERE kind = 'worker-gone' AND resolved_at IS NULL AND raised_at < now() - interval '1 day';

-- name: select_open_alerts
-- Raised and not resolved: what cannot be resolved, for as long as it is looked at.
SELECT key, kind, message FROM alerts WHERE resolved_at IS NULL;

-- name: insert_alert
INSERT INTO alerts (alert_id, key, kind, message) VALUES (%(alert_id)s, %(key)s, %(kind)s, %(message)s)
ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING;

-- name: reword_alert
UPDATE alerts SET message = %(message)s WHERE key = %(key)s AND resolved_at IS NULL;

-- name: resolve_alert
UPDATE alerts SET resolved_at = now() WHERE key = %(key)s AND resolved_at IS NULL;

-- name: select_untold_alerts
-- What is to be told, in its order. Nobody wants to hear of what was over long ago.
SELECT alert_id, key, kind, message, raised_at, told_at, resolved_at
FROM alerts
WHERE (told_at IS NULL OR (resolved_at IS NOT NULL AND end_told_at IS NULL)) AND raised_at > now() - interval '1 day'
ORDER BY alert_id
LIMIT 20;

-- name: mark_alert_told
UPDATE alerts SET told_at = now() WHERE alert_id = %(alert_id)s;

-- name: mark_alert_end_told
UPDATE alerts SET end_told_at = now() WHERE alert_id = %(alert_id)s;

-- name: select_active_wallets
SELECT custodial_wallet FROM farmers WHERE status = 'active' ORDER BY registered_at, farmer_id;

-- name: select_to_check
-- Stakes of which nobody knows whether they came back.
SELECT count(*) AS compensations FROM pooler_compensations WHERE standing = 'to-check';

-- name: select_suspicions
-- Miners that seem to hold back shares.
SELECT miner_id, name, suspicion FROM miners WHERE suspicion IS NOT NULL ORDER BY miner_id;
