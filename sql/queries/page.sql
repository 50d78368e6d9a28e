-- The page that anybody may look at. Public matters only: custodial wallets, never names, keys or payout wallets of farmers.

-- name: select_page_farmers
-- Every farmer that takes part or waits to, or took part in this block, with how far it is in it; the best work counts.
SELECT f.farmer_id, f.custodial_wallet, f.status, p.stake_stroops, best.zeros AS found_zeros,
       w.zeros AS worked_zeros, w.gap, h.forecast_stroops, h.reward_stroops, h.created_at AS harvested_at,
       p.transaction_hash AS plant_transaction, w.transaction_hash AS work_transaction,
       h.transaction_hash AS harvest_transaction,
       CASE WHEN h.reward_stroops IS NULL THEN coalesce(lost.code, failed.code) END AS failed_code
FROM farmers f
LEFT JOIN plantings p ON p.block_index = %(block_index)s AND p.farmer_id = f.farmer_id AND p.outcome = 'planted'
LEFT JOIN LATERAL (
    SELECT zeros FROM shares
    WHERE block_index = %(block_index)s AND farmer_id = f.farmer_id ORDER BY hash LIMIT 1) best ON true
LEFT JOIN LATERAL (
    SELECT zeros, gap, transaction_hash FROM works
    WHERE block_index = %(block_index)s AND farmer_id = f.farmer_id AND outcome = 'worked'
    ORDER BY zeros DESC, event_id DESC LIMIT 1) w ON true
LEFT JOIN harvests h ON h.block_index = %(block_index)s AND h.farmer_id = f.farmer_id AND h.outcome = 'harvested'
LEFT JOIN pooler_compensations lost ON lost.block_index = %(block_index)s AND lost.farmer_id = f.farmer_id
LEFT JOIN LATERAL (
    SELECT code FROM plantings
    WHERE block_index = %(block_index)s AND farmer_id = f.farmer_id AND outcome = 'failed' AND p.event_id IS NULL
    ORDER BY event_id DESC LIMIT 1) failed ON true
WHERE (%(everybody)s AND f.status <> 'departed') OR p.event_id IS NOT NULL OR failed.code IS NOT NULL
ORDER BY f.registered_at, f.farmer_id;

-- name: select_page_blocks
-- The newest blocks up to this one, all poolers together.
SELECT block_index, min(started_at) AS started_at, bool_or(status = 'open') AS open,
       bool_or(status = 'given_up') AS given_up, sum(planted)::bigint AS planted, sum(worked)::bigint AS worked,
       sum(harvested)::bigint AS harvested, max(best_zeros) AS best_zeros, sum(staked_stroops) AS staked_stroops,
       sum(rewarded_stroops) AS rewarded_stroops, sum(forecast_stroops) AS forecast_stroops
FROM block_completion
WHERE block_index > %(newest_index)s::bigint - %(count)s::bigint AND block_index <= %(newest_index)s
GROUP BY block_index
ORDER BY block_index DESC;

-- name: select_page_lost
-- What the newest block before this one with plants lost.
SELECT block_index, count(*) AS farmers, sum(stake_stroops) AS stake_stroops
FROM lost_stakes
WHERE block_index = (
    SELECT max(block_index) FROM plantings WHERE outcome = 'planted' AND block_index < %(before_index)s)
GROUP BY block_index;

-- name: select_page_block
-- What the chain said of a block when it was last read.
SELECT * FROM blocks WHERE block_index = %(block_index)s;

-- name: insert_miner_hashrates
-- One point of every rig's hashrate, for charts: what it was credited over the last minute.
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second)
SELECT now(), recent.searcher, recent.credited::float8 / 60
FROM miners m
CROSS JOIN LATERAL (
    SELECT searcher, sum(credited_hashes) AS credited FROM shares
    WHERE miner_id = m.miner_id AND found_at > now() - interval '1 minute' GROUP BY searcher) recent
WHERE m.last_seen_at > now() - interval '5 minutes'
ON CONFLICT DO NOTHING;

-- name: select_page_rates
-- Hashrates by worker or miner, and time.
SELECT sampled.at, w.kind, w.number, m.miner_id, m.name, sum(sampled.hashes_per_second) AS hashes_per_second
FROM (
    SELECT date_bin(make_interval(secs => %(bin_seconds)s), sampled_at, 'epoch') AS at, searcher,
           avg(hashes_per_second) AS hashes_per_second
    FROM hashrates WHERE sampled_at > %(since)s GROUP BY 1, searcher) sampled
LEFT JOIN (
    SELECT searcher, kind, row_number() OVER (ORDER BY joined_at, worker_id) AS number FROM workers) w USING (searcher)
LEFT JOIN rigs r USING (searcher)
LEFT JOIN miners m USING (miner_id)
GROUP BY sampled.at, w.kind, w.number, m.miner_id, m.name
ORDER BY sampled.at;

-- name: select_page_searchers
-- Who searches now: our workers by number, and miners by the latest point of their rigs.
SELECT worker_id AS id, kind, '' AS name, hashes_per_second, number
FROM (SELECT *, row_number() OVER (ORDER BY joined_at, worker_id) AS number FROM workers) w
WHERE status = 'alive' AND last_seen_at > now() - interval '15 seconds'
UNION ALL
SELECT m.miner_id, 'miner', m.name, sum(newest.hashes_per_second), 0
FROM (
    SELECT DISTINCT ON (searcher) searcher, hashes_per_second FROM hashrates
    WHERE sampled_at > now() - interval '25 seconds' ORDER BY searcher, sampled_at DESC) newest
JOIN rigs r USING (searcher)
JOIN miners m USING (miner_id)
GROUP BY m.miner_id, m.name
ORDER BY 2, 5, 4 DESC;

-- name: select_page_events
-- What happened last, the newest first; of one farmer unless null.
SELECT e.*, f.custodial_wallet
FROM (
    (SELECT event_id, created_at, 'plant' AS action, outcome, block_index, farmer_id, stake_stroops AS amount_stroops,
            NULL::integer AS zeros, transaction_hash, ledger, code
     FROM plantings WHERE %(farmer_id)s::uuid IS NULL OR farmer_id = %(farmer_id)s
     ORDER BY event_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, created_at, 'work', outcome, block_index, farmer_id, NULL, zeros, transaction_hash, ledger, code
     FROM works WHERE %(farmer_id)s::uuid IS NULL OR farmer_id = %(farmer_id)s
     ORDER BY event_id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, created_at, 'harvest', outcome, block_index, farmer_id, reward_stroops, NULL, transaction_hash, ledger, code
     FROM harvests WHERE %(farmer_id)s::uuid IS NULL OR farmer_id = %(farmer_id)s
     ORDER BY event_id DESC LIMIT %(limit)s)) e
JOIN farmers f USING (farmer_id)
ORDER BY e.event_id DESC
LIMIT %(limit)s;

-- name: select_page_farmer
-- One farmer, as far as the chain shows it too.
SELECT f.farmer_id, f.custodial_wallet, f.status, f.registered_at, p.blocks_planted, p.blocks_worked, p.blocks_harvested,
       p.staked_stroops, p.rewarded_stroops, p.best_zeros
FROM farmers f JOIN farmer_performance p USING (farmer_id)
WHERE f.farmer_id = %(farmer_id)s;

-- name: select_page_farmer_blocks
-- A farmer's newest blocks.
SELECT p.block_index, p.stake_stroops, w.zeros, w.gap, h.reward_stroops, h.forecast_stroops
FROM plantings p
LEFT JOIN LATERAL (
    SELECT zeros, gap FROM works
    WHERE block_index = p.block_index AND farmer_id = p.farmer_id AND outcome = 'worked'
    ORDER BY zeros DESC, event_id DESC LIMIT 1) w ON true
LEFT JOIN harvests h ON h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested'
WHERE p.farmer_id = %(farmer_id)s AND p.outcome = 'planted'
ORDER BY p.block_index DESC
LIMIT %(limit)s;

-- name: select_page_miner
-- One miner, by the name it chose.
SELECT miner_id, name, created_at, last_seen_at, banned_until > now() AS banned FROM miners WHERE miner_id = %(miner_id)s;

-- name: select_page_miner_blocks
-- A miner's newest blocks: its shares, and its part of what all miners were credited.
SELECT c.block_index, sum(c.shares) FILTER (WHERE c.outcome = 'accepted')::bigint AS accepted,
       sum(c.shares) FILTER (WHERE c.outcome <> 'accepted')::bigint AS refused, sum(c.credited_hashes) AS credited_hashes,
       (SELECT sum(credited_hashes) FROM share_counts a WHERE a.block_index = c.block_index) AS credited_to_all
FROM share_counts c
WHERE c.miner_id = %(miner_id)s
GROUP BY c.block_index
ORDER BY c.block_index DESC
LIMIT %(limit)s;
