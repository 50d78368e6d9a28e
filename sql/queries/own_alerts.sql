-- services/own_alerts.py: what farmers and miners are told of what is theirs, and where.

-- name: set_own_alert_address
-- Another address begins anew: of what was before nothing is told there.
INSERT INTO own_alert_addresses (subject_id, role, url) VALUES (%(subject_id)s, %(role)s, %(url)s)
ON CONFLICT (subject_id) DO UPDATE
SET url = excluded.url, since = now(), failures = 0, trouble = NULL,
    retry_at = greatest(own_alert_addresses.retry_at, now());

-- name: delete_own_alert_address
DELETE FROM own_alert_addresses WHERE subject_id = %(subject_id)s;

-- name: select_own_alert_address
SELECT url, since, trouble FROM own_alert_addresses WHERE subject_id = %(subject_id)s;

-- name: take_own_alert_turn
-- Lets one message at a time go to an address, and none before its time: touches no row then.
UPDATE own_alert_addresses SET retry_at = now() + make_interval(secs => %(seconds)s::float)
WHERE subject_id = %(subject_id)s AND retry_at <= now()
RETURNING url, failures;

-- name: note_own_alert_outcome
-- What came of it. An address that was changed meanwhile is left alone.
UPDATE own_alert_addresses
SET failures = %(failures)s, trouble = %(trouble)s, retry_at = now() + make_interval(secs => %(seconds)s::float)
WHERE subject_id = %(subject_id)s AND url = %(url)s;

-- name: select_own_losses
-- Stakes that were lost lately in blocks that are over.
SELECT a.subject_id, l.block_index, l.stake_stroops
FROM own_alert_addresses a
JOIN block_operations o ON o.status <> 'open' AND o.closed_at > greatest(a.since, now() - interval '1 day')
JOIN lost_stakes l ON l.farmer_id = a.subject_id AND l.block_index = o.block_index
JOIN farmers f ON f.farmer_id = a.subject_id AND f.pooler_id = o.pooler_id
WHERE a.role = 'farmer';

-- name: select_own_payments
-- What was paid lately to a farmer's or a miner's wallet. asset: XLM of a withdrawal of XLM.
SELECT a.subject_id, i.submission_id, i.action, i.amount_stroops, coalesce(w.asset, 'KALE') AS asset, i.destination,
       encode(s.transaction_hash, 'hex') AS transaction_hash
FROM own_alert_addresses a
JOIN submission_items i ON CASE a.role WHEN 'miner' THEN i.miner_id ELSE i.farmer_id END = a.subject_id
JOIN submissions s USING (submission_id)
LEFT JOIN withdrawals w USING (withdrawal_id)
WHERE i.status = 'applied' AND i.action IN ('payment', 'merge', 'payout')
  AND s.closed_at > greatest(a.since, now() - interval '1 day') AND s.created_at > now() - interval '2 days';

-- name: select_own_gone_rigs
-- Rigs of miners that were not seen for so long, and were within a day.
SELECT a.subject_id, r.searcher, r.name, r.last_seen_at
FROM own_alert_addresses a JOIN rigs r ON r.miner_id = a.subject_id
WHERE a.role = 'miner' AND r.last_seen_at > greatest(a.since, now() - interval '1 day')
  AND r.last_seen_at < now() - make_interval(secs => %(seconds)s::float);

-- name: select_own_wallets_told_of
-- Active farmers with an address; `told`: that this one is out of XLM, which is not over.
SELECT a.subject_id, f.custodial_wallet,
       EXISTS (SELECT FROM own_alerts x WHERE x.subject_id = a.subject_id AND x.kind = 'out-of-xlm' AND x.over_at IS NULL) AS told
FROM own_alert_addresses a JOIN farmers f ON f.farmer_id = a.subject_id
WHERE a.role = 'farmer' AND f.status = 'active' AND NOT f.plants_itself;

-- name: insert_own_alert
INSERT INTO own_alerts (alert_id, subject_id, kind, key, message)
SELECT %(alert_id)s, %(subject_id)s, %(kind)s, %(key)s, %(message)s
WHERE EXISTS (SELECT FROM own_alert_addresses WHERE subject_id = %(subject_id)s)
ON CONFLICT (subject_id, key) DO NOTHING;

-- name: end_own_alerts
-- These farmers are not out of XLM any more.
UPDATE own_alerts SET over_at = now() WHERE kind = 'out-of-xlm' AND over_at IS NULL AND subject_id = ANY (%(subject_ids)s::uuid[]);

-- name: select_own_alert_turns
-- Who is to be told something now, the longest waiting first.
SELECT a.subject_id FROM own_alert_addresses a
JOIN LATERAL (SELECT alert_id FROM own_alerts x WHERE x.subject_id = a.subject_id AND x.told_at IS NULL
              ORDER BY alert_id LIMIT 1) waits ON true
WHERE a.retry_at <= now() ORDER BY waits.alert_id LIMIT %(limit)s;

-- name: select_untold_own_alerts
SELECT alert_id, message FROM own_alerts WHERE subject_id = %(subject_id)s AND told_at IS NULL ORDER BY alert_id;

-- name: mark_own_alerts_told
UPDATE own_alerts SET told_at = now() WHERE alert_id = ANY (%(alert_ids)s::uuid[]);
