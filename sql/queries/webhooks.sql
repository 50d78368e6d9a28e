-- services/webhooks.py, services/webhook_sending.py: programs of others that are told what happens. subject_id: whose own
-- webhook, null for operators'.

-- name: lock_webhooks
-- Nobody else adds one within the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('webhooks', 0));

-- name: count_webhooks
-- Of an owner: those that are there; and how many were made within an hour, removed or not.
SELECT count(*) FILTER (WHERE removed_at IS NULL) AS webhooks,
       count(*) FILTER (WHERE created_at > now() - interval '1 hour') AS lately
FROM webhooks WHERE subject_id = %(subject_id)s OR (%(subject_id)s::uuid IS NULL AND subject_id IS NULL);

-- name: insert_webhook
INSERT INTO webhooks (webhook_id, role, subject_id, url, types, secret_sealed)
VALUES (%(webhook_id)s, %(role)s, %(subject_id)s, %(url)s, %(types)s, %(secret_sealed)s);

-- name: remove_webhook
UPDATE webhooks SET removed_at = now()
WHERE webhook_id = %(webhook_id)s AND removed_at IS NULL AND subject_id IS NOT DISTINCT FROM %(subject_id)s::uuid;

-- name: pause_webhook
-- Or resumes it: at once, also where it was left alone.
UPDATE webhooks SET paused_at = CASE WHEN %(paused)s THEN coalesce(paused_at, now()) END,
                    retry_at = CASE WHEN %(paused)s OR paused_at IS NULL THEN retry_at ELSE now() END,
                    failures = CASE WHEN %(paused)s OR paused_at IS NULL THEN failures ELSE 0 END
WHERE webhook_id = %(webhook_id)s AND removed_at IS NULL AND subject_id IS NOT DISTINCT FROM %(subject_id)s::uuid;

-- name: pause_dead_own_webhooks
-- Farmers' and miners' that took nothing for so many days, and were tried so often.
UPDATE webhooks SET paused_at = now()
WHERE subject_id IS NOT NULL AND removed_at IS NULL AND paused_at IS NULL AND failures >= %(failures)s
  AND coalesce(delivered_at, created_at) < now() - make_interval(days => %(days)s);

-- name: take_webhook_turn_by_hand
-- Unless it was taken within so many seconds.
UPDATE webhooks SET asked_at = now()
WHERE webhook_id = %(webhook_id)s AND removed_at IS NULL
  AND (asked_at IS NULL OR asked_at <= now() - make_interval(secs => %(seconds)s::float));

-- name: select_webhooks
-- All of an owner's that are there, or the one of an id, the oldest first.
SELECT w.webhook_id, w.url, w.types, w.created_at, w.delivered_at, w.failures, w.trouble,
       CASE WHEN w.failures > 0 AND w.retry_at > now() THEN w.retry_at END AS retry_at, w.paused_at,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.webhook_id AND d.status = 'waiting') AS waiting,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.webhook_id AND d.status = 'given_up') AS given_up
FROM webhooks w
WHERE w.removed_at IS NULL AND (%(webhook_id)s::uuid IS NULL OR w.webhook_id = %(webhook_id)s)
  AND (w.subject_id = %(subject_id)s OR (%(subject_id)s::uuid IS NULL AND w.subject_id IS NULL))
ORDER BY w.webhook_id;

-- name: select_webhook_events
-- What has happened and was not made into deliveries, in its order.
SELECT number, type, block_index, owner_id, subject_id, happened_at FROM webhook_events ORDER BY number LIMIT %(limit)s;

-- name: insert_webhook_deliveries
-- Makes an event into deliveries to all who may know of it, want it and were there. Nothing where another process did so
-- before.
WITH made AS (DELETE FROM webhook_events WHERE number = %(number)s RETURNING happened_at)
INSERT INTO webhook_deliveries (webhook_id, event_id, type, body)
SELECT w.webhook_id, %(event_id)s, %(type)s, CASE WHEN w.subject_id IS NULL THEN %(body)s ELSE %(own_body)s END
FROM made, webhooks w
WHERE w.removed_at IS NULL AND w.created_at <= made.happened_at AND %(type)s = ANY (w.types)
  AND (w.subject_id IS NULL OR w.subject_id = %(owner_id)s);

-- name: delete_webhook_event
-- Of which nothing is there to tell any more.
DELETE FROM webhook_events WHERE number = %(number)s;

-- name: insert_webhook_test
INSERT INTO webhook_deliveries (webhook_id, event_id, type, body)
SELECT webhook_id, %(event_id)s, 'test', %(body)s FROM webhooks WHERE webhook_id = %(webhook_id)s AND removed_at IS NULL;

-- name: select_webhook_turns
-- Those whose turn it is and that something waits for: operators', then the others', who had none for longest first.
SELECT w.webhook_id, w.url, w.subject_id IS NOT NULL AS is_own FROM webhooks w
WHERE w.removed_at IS NULL AND w.paused_at IS NULL AND w.retry_at <= now()
  AND EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = w.webhook_id AND d.status = 'waiting' AND d.due_at <= now())
ORDER BY is_own, w.retry_at LIMIT %(limit)s;

-- name: take_webhook_turn
-- The oldest delivery that is due; and the webhook is nobody else's for so long. No row where it is not its turn.
WITH turn AS (
    SELECT webhook_id FROM webhooks WHERE webhook_id = %(webhook_id)s AND removed_at IS NULL AND paused_at IS NULL
      AND retry_at <= now()
    FOR UPDATE SKIP LOCKED),
next AS (
    SELECT d.webhook_id, d.event_id, d.body, d.attempts FROM webhook_deliveries d JOIN turn USING (webhook_id)
    WHERE d.status = 'waiting' AND d.due_at <= now() ORDER BY d.event_id LIMIT 1)
UPDATE webhooks w SET retry_at = now() + make_interval(secs => %(seconds)s::float)
FROM next WHERE w.webhook_id = next.webhook_id
RETURNING w.url, w.subject_id, w.secret_sealed, w.failures, next.event_id, next.body, next.attempts;

-- name: note_webhook_delivered
WITH closed AS (
    UPDATE webhook_deliveries SET status = 'delivered', attempts = attempts + 1, trouble = NULL, closed_at = now()
    WHERE webhook_id = %(webhook_id)s AND event_id = %(event_id)s AND status <> 'delivered')
UPDATE webhooks SET failures = 0, trouble = NULL, delivered_at = now(), retry_at = now() WHERE webhook_id = %(webhook_id)s;

-- name: note_webhook_failure
-- delivery_seconds, webhook_seconds: how long each is left alone.
WITH noted AS (
    UPDATE webhook_deliveries SET attempts = attempts + 1, trouble = %(trouble)s,
                                  due_at = now() + make_interval(secs => %(delivery_seconds)s::float)
    WHERE webhook_id = %(webhook_id)s AND event_id = %(event_id)s AND status = 'waiting')
UPDATE webhooks SET failures = %(failures)s, trouble = %(trouble)s,
                    retry_at = now() + make_interval(secs => %(webhook_seconds)s::float)
WHERE webhook_id = %(webhook_id)s;

-- name: leave_webhook_alone
UPDATE webhooks SET retry_at = now() + make_interval(secs => %(seconds)s::float) WHERE webhook_id = %(webhook_id)s;

-- name: give_webhook_deliveries_up
-- What was tried for so long, a batch at a time.
UPDATE webhook_deliveries d SET status = 'given_up', closed_at = now()
FROM (SELECT webhook_id, event_id FROM webhook_deliveries
      WHERE status = 'waiting' AND since < now() - make_interval(secs => %(seconds)s::float)
      ORDER BY since LIMIT %(batch)s FOR UPDATE SKIP LOCKED) old
WHERE d.webhook_id = old.webhook_id AND d.event_id = old.event_id;

-- name: select_webhook_deliveries
-- A page of a webhook's, the newest first; of one status unless that is null.
SELECT event_id, type, status, attempts, trouble, created_at, CASE WHEN status = 'waiting' THEN due_at END AS due_at, closed_at
FROM webhook_deliveries
WHERE webhook_id = %(webhook_id)s AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(after)s::uuid IS NULL OR event_id < %(after)s)
ORDER BY event_id DESC
LIMIT %(limit)s;

-- name: select_webhook_delivery
SELECT event_id, type, status, attempts, trouble, created_at, CASE WHEN status = 'waiting' THEN due_at END AS due_at, closed_at
FROM webhook_deliveries WHERE webhook_id = %(webhook_id)s AND event_id = %(event_id)s;

-- name: send_webhook_delivery_again
-- From now on for another day, and at once: whoever asks has mended something.
WITH again AS (
    UPDATE webhook_deliveries SET status = 'waiting', closed_at = NULL, since = now(), due_at = now()
    WHERE webhook_id = %(webhook_id)s AND event_id = %(event_id)s
    RETURNING webhook_id)
UPDATE webhooks w SET retry_at = least(retry_at, now()) FROM again
WHERE w.webhook_id = again.webhook_id AND w.removed_at IS NULL AND w.failures > 0;

-- name: count_webhook_deliveries
-- What waits, and what was given up, at all of operators' that are there: what becomes of others' is no operator's trouble.
SELECT count(*) FILTER (WHERE status = 'waiting') AS waiting, count(*) FILTER (WHERE status = 'given_up') AS given_up
FROM webhook_deliveries JOIN webhooks USING (webhook_id) WHERE status <> 'delivered' AND removed_at IS NULL AND subject_id IS NULL;

-- name: select_ended_key
-- Of a farmer, a miner or a pooler; without the secret.
SELECT key_id, role, subject_id, label, created_at, revoked_at AS ended_at FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NOT NULL AND subject_id IS NOT NULL;
