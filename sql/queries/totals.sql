-- services/totals.py: the whole pool in numbers. Growing tables are added up from one point of the past to another.

-- name: count_outcomes
-- Plants, works and harvests by outcome whose events came in this time, with what they moved.
SELECT 'plant' AS action, outcome, coalesce(code, '') AS code, count(*) AS events, coalesce(sum(stake_stroops), 0) AS stroops
FROM plantings WHERE event_id >= %(first)s AND event_id < %(end)s GROUP BY outcome, code
UNION ALL
SELECT 'work', outcome, coalesce(code, ''), count(*), 0
FROM works WHERE event_id >= %(first)s AND event_id < %(end)s GROUP BY outcome, code
UNION ALL
SELECT 'harvest', outcome, coalesce(code, ''), count(*), coalesce(sum(reward_stroops), 0)
FROM harvests WHERE event_id >= %(first)s AND event_id < %(end)s GROUP BY outcome, code;

-- name: count_submissions
-- Transactions of this time that are closed, by action, how they ended, and the bucket of their delay, with their fees.
SELECT action, status, width_bucket(extract(epoch FROM closed_at - created_at)::float8, %(bounds)s::float8[]) AS bucket,
       count(*) AS transactions, coalesce(sum(fee_stroops), 0) AS fee_stroops,
       sum(extract(epoch FROM closed_at - created_at))::float8 AS delay_seconds
FROM submissions
WHERE submission_id >= %(first)s AND submission_id < %(end)s AND status <> 'open'
GROUP BY 1, 2, 3;

-- name: select_pool_sums
-- What is settled, by name and labels, and up to where; one row with nulls before anything is.
SELECT s.until_id, s.until_block, p.labels, p.amount FROM settled s LEFT JOIN pool_sums p ON true;

-- name: count_miner_shares
-- Shares of external miners by outcome, since a block.
SELECT outcome, sum(shares)::bigint AS shares, sum(credited_hashes) AS credited_hashes FROM share_counts
WHERE block_index >= %(since)s GROUP BY outcome;

-- name: select_gauges
-- The pool at this moment.
SELECT newest.block_index,
       (SELECT count(*) FROM plantings WHERE block_index = newest.block_index AND outcome = 'planted') AS planted,
       (SELECT count(DISTINCT farmer_id) FROM works WHERE block_index = newest.block_index AND outcome = 'worked') AS worked,
       (SELECT coalesce(sum(p.stake_stroops), 0) FROM block_operations o JOIN plantings p USING (block_index, pooler_id)
        WHERE o.status = 'open' AND p.outcome = 'planted'
          AND NOT EXISTS (SELECT FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id
                          AND w.outcome = 'worked')) AS at_risk_stroops,
       (SELECT coalesce(sum(hashes_per_second), 0) FROM workers
        WHERE status = 'alive' AND last_seen_at > now() - interval '15 seconds') AS workers_rate,
       (SELECT count(*) FROM workers WHERE status = 'alive' AND last_seen_at > now() - interval '15 seconds') AS workers,
       (SELECT coalesce(sum(hashes_per_second), 0) FROM (
            SELECT DISTINCT ON (searcher) hashes_per_second FROM hashrates JOIN rigs USING (searcher)
            WHERE sampled_at BETWEEN now() - interval '25 seconds' AND now() ORDER BY searcher, sampled_at DESC) newest_of_rig) AS miners_rate,
       (SELECT count(*) FROM miners WHERE last_seen_at > now() - interval '5 minutes') AS miners,
       (SELECT count(*) FROM miners WHERE suspicion IS NOT NULL) AS suspected_miners,
       (SELECT count(*) FROM submissions WHERE status = 'open') AS open_submissions,
       (SELECT count(*) FROM withdrawals WHERE closed_at IS NULL) AS open_withdrawals,
       (SELECT count(*) FROM pails_out(NULL) o
        WHERE o.block_index BETWEEN newest.block_index - %(day_blocks)s AND newest.block_index - 1
          AND EXISTS (SELECT FROM works w WHERE w.block_index = o.block_index AND w.farmer_id = o.farmer_id
                      AND w.outcome = 'worked')) AS unharvested,
       (SELECT count(*) FROM pooler_compensations WHERE paid_at IS NULL AND standing = 'owed') AS unpaid_compensations,
       (SELECT count(*) FROM alerts WHERE told_at IS NULL) AS untold_alerts,
       (SELECT count(*) FROM payouts WHERE closed_at IS NULL) AS open_payouts
FROM (SELECT max(block_index) AS block_index FROM block_operations) newest;

-- name: count_farmers_by_status
SELECT status, count(*) AS farmers FROM farmers GROUP BY status;

-- name: sum_compensations
SELECT fault, sum(stake_stroops) AS stake_stroops, count(*) AS stakes FROM pooler_compensations WHERE standing = 'owed' GROUP BY fault;
