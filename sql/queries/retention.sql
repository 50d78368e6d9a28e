-- services/retention.py: what is old goes, a batch at a time: no statement runs long, whatever has gathered. Each is called
-- until it touches fewer rows than its batch.

-- name: delete_old_shares
-- Shares that no block, hashrate or repeated request needs any more. Their ids are in the order of time; totals stay in share_counts.
DELETE FROM shares WHERE share_id IN (
    SELECT share_id FROM shares
    WHERE share_id < %(before)s AND found_at < %(at)s ORDER BY share_id LIMIT %(batch)s);

-- name: delete_old_refused_shares
-- A request is repeated within minutes, if at all.
DELETE FROM refused_shares WHERE ctid IN (
    SELECT ctid FROM refused_shares WHERE refused_at < %(at)s ORDER BY refused_at LIMIT %(batch)s);

-- name: delete_old_hashrates
DELETE FROM hashrates WHERE ctid IN (
    SELECT ctid FROM hashrates WHERE sampled_at < %(at)s ORDER BY sampled_at LIMIT %(batch)s);

-- name: delete_old_workers
-- Workers that are gone, a day after their last point in the charts.
DELETE FROM workers WHERE worker_id IN (
    SELECT worker_id FROM workers
    WHERE status = 'gone' AND last_seen_at < %(at)s LIMIT %(batch)s);

-- name: delete_old_alerts
-- What is over. What never is, is about a block that nobody looks at any more.
DELETE FROM alerts WHERE alert_id IN (
    SELECT alert_id FROM alerts
    WHERE alert_id < %(before)s AND (resolved_at IS NOT NULL OR kind = ANY (%(lasting)s::text[]))
    ORDER BY alert_id LIMIT %(batch)s);

-- name: delete_old_own_alerts
-- What farmers and miners were told, or could not be. Who is out of XLM still stays so.
DELETE FROM own_alerts WHERE alert_id IN (
    SELECT alert_id FROM own_alerts
    WHERE alert_id < %(before)s AND (kind <> 'out-of-xlm' OR over_at IS NOT NULL)
    ORDER BY alert_id LIMIT %(batch)s);

-- name: empty_old_envelopes
-- The envelopes of plants, works and harvests that are settled: nine tenths of the journal. The network has them; all else stays.
UPDATE submissions SET envelope_xdr = '' WHERE submission_id IN (
    SELECT submission_id FROM submissions
    WHERE submission_id < %(before)s AND envelope_xdr <> '' AND status <> 'open' AND action IN ('plant', 'work', 'harvest')
    ORDER BY submission_id LIMIT %(batch)s);

-- name: delete_old_webhook_deliveries
-- What was taken or given up this long ago.
DELETE FROM webhook_deliveries WHERE ctid IN (
    SELECT ctid FROM webhook_deliveries WHERE status <> 'waiting' AND closed_at < %(at)s ORDER BY closed_at LIMIT %(batch)s);

-- name: delete_removed_webhook_deliveries
DELETE FROM webhook_deliveries WHERE ctid IN (
    SELECT d.ctid FROM webhook_deliveries d JOIN webhooks w USING (webhook_id) WHERE w.removed_at IS NOT NULL LIMIT %(batch)s);

-- name: delete_removed_webhooks
DELETE FROM webhooks WHERE webhook_id IN (
    SELECT webhook_id FROM webhooks w WHERE removed_at IS NOT NULL
    AND (subject_id IS NULL OR created_at < now() - interval '1 hour') -- for so long own ones count: who makes too many waits
    AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = w.webhook_id) LIMIT %(batch)s);
