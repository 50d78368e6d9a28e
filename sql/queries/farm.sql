-- view/farm.py: one farmer, as its own wallet sees it.

-- name: select_farm_totals
-- What a farmer earned lately and in all, what it lost, what the pool keeps of it, and what the network charged for it:
-- the pool paid that, but for what a farmer paid before it was active.
SELECT coalesce(f.fee_rate, 0)::float8 AS fee_rate, f.leaving_at,
       h.day_stroops, h.week_stroops, a.rewarded_stroops::numeric AS all_stroops, a.forecast_stroops::numeric AS forecast_stroops,
       a.forecast_known_stroops::numeric AS forecast_known_stroops,
       lost.lost_stakes, lost.lost_stroops, lost.owed_stroops,
       (SELECT debit_stroops FROM account_moves('farmer/' || f.farmer_id, 'fee')) AS fee_stroops,
       a.network_fee_stroops::bigint AS network_fee_stroops
FROM farmers f
CROSS JOIN LATERAL farmer_totals(f.farmer_id) a
CROSS JOIN LATERAL (
    SELECT coalesce(sum(reward_stroops) FILTER (WHERE created_at > now() - interval '1 day'), 0) AS day_stroops,
           coalesce(sum(reward_stroops), 0) AS week_stroops
    FROM harvests
    WHERE farmer_id = f.farmer_id AND outcome = 'harvested'
      AND block_index >= (SELECT max(block_index) - %(week_blocks)s FROM harvests WHERE farmer_id = f.farmer_id)
      AND created_at > now() - interval '7 days') h
CROSS JOIN LATERAL (
    SELECT count(*) AS lost_stakes, coalesce(sum(stake_stroops), 0) AS lost_stroops,
           coalesce(sum(stake_stroops + forecast_stroops) FILTER (WHERE paid_at IS NULL), 0) AS owed_stroops
    FROM pooler_compensations WHERE farmer_id = f.farmer_id AND standing = 'owed') lost
WHERE f.farmer_id = %(farmer_id)s;

-- name: select_farm_place
-- Whether the pooler of a farmer has a place for one more.
SELECT p.max_farmers > (SELECT count(*) FROM farmers o
                        WHERE o.pooler_id = p.pooler_id AND o.status IN ('active', 'leaving')) AS has_place
FROM farmers f JOIN poolers p USING (pooler_id) WHERE f.farmer_id = %(farmer_id)s;

-- name: select_farm_entries
-- What the books have of a farmer within a time, by what it means for it: what comes is more than 0, what goes is less.
-- A page reads no more than its own entries of either side, however many there are before and after that time.
WITH bounds AS MATERIALIZED (
    SELECT greatest(entry_before(%(since)s), %(after)s::bigint) AS low,
           entry_before(%(until)s::timestamptz + interval '20 minutes') + 1 AS high)
SELECT number, posted_at, event, 'KALE' AS asset,
       CASE WHEN credit = 'farmer/' || %(farmer_id)s::text THEN amount_stroops ELSE -amount_stroops END AS amount_stroops,
       block_index, encode(transaction_hash, 'hex') AS transaction_hash, ledger, note
FROM ((SELECT * FROM transfers
       WHERE debit = 'farmer/' || %(farmer_id)s::text AND posted_at >= %(since)s AND posted_at < %(until)s
         AND number > (SELECT low FROM bounds) AND number <= (SELECT high FROM bounds)
       ORDER BY number LIMIT %(limit)s)
      UNION ALL
      (SELECT * FROM transfers
       WHERE credit = 'farmer/' || %(farmer_id)s::text AND posted_at >= %(since)s AND posted_at < %(until)s
         AND number > (SELECT low FROM bounds) AND number <= (SELECT high FROM bounds)
       ORDER BY number LIMIT %(limit)s)) t
ORDER BY number
LIMIT %(limit)s;

-- name: select_farm_xlm_entries
-- XLM that the pool paid out of a farmer's wallet within a time; what came to it nobody writes down.
SELECT i.submission_id, coalesce(s.closed_at, s.created_at) AS posted_at, 'withdrawn' AS event, 'XLM' AS asset,
       -(CASE i.action WHEN 'merge' THEN i.native_stroops ELSE i.amount_stroops END) AS amount_stroops,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger
FROM submission_items i JOIN submissions s USING (submission_id)
WHERE i.farmer_id = %(farmer_id)s AND i.block_index IS NULL AND i.status = 'applied'
  AND (i.action = 'merge' AND i.native_stroops > 0 OR i.action = 'payment' AND i.asset = 'XLM')
  AND coalesce(s.closed_at, s.created_at) >= %(since)s AND coalesce(s.closed_at, s.created_at) < %(until)s
  AND (%(after)s::uuid IS NULL OR i.submission_id > %(after)s)
ORDER BY i.submission_id
LIMIT %(limit)s;

-- name: select_farm_sums
-- What made up what is a farmer's own by the books, by event: what came is more than 0, what went is less.
SELECT e.event, m.credit_stroops - m.debit_stroops AS stroops
FROM unnest(%(events)s::text[]) WITH ORDINALITY e(event, place)
CROSS JOIN LATERAL account_moves('farmer/' || %(farmer_id)s::text, e.event) m
ORDER BY e.place;

-- name: select_farm_deposits
-- The KALE that came to a farmer's wallet from outside, the newest first.
SELECT number, posted_at, amount_stroops, encode(transaction_hash, 'hex') AS transaction_hash, ledger
FROM transfers WHERE credit = 'farmer/' || %(farmer_id)s::text AND event = 'deposited'
ORDER BY number DESC
LIMIT %(limit)s;
