-- What the live view, `kalepool status` and the closing table of `kalepool up` read.

-- name: select_live_farmers
-- Every farmer that has not departed, with its best share of this block and its last harvest; of one pooler unless null.
SELECT f.farmer_id, f.custodial_wallet, f.status, f.metadata ->> 'name' AS name,
       best.zeros AS found_zeros, last.block_index AS harvested_index, last.reward_stroops AS received_stroops
FROM farmers f
LEFT JOIN LATERAL (
    SELECT zeros FROM shares
    WHERE block_index = %(block_index)s AND farmer_id = f.farmer_id ORDER BY hash LIMIT 1) best ON true
LEFT JOIN LATERAL (
    SELECT block_index, reward_stroops FROM harvests
    WHERE farmer_id = f.farmer_id AND outcome = 'harvested' ORDER BY block_index DESC LIMIT 1) last ON true
WHERE f.status <> 'departed' AND (%(pooler_id)s::uuid IS NULL OR f.pooler_id = %(pooler_id)s)
ORDER BY f.registered_at, f.farmer_id;

-- name: select_farmers_called
-- Farmers with this custodial wallet or name, and the one with this id.
SELECT farmer_id, custodial_wallet, payout_wallet, status, metadata ->> 'name' AS name
FROM farmers
WHERE farmer_id = %(farmer_id)s::uuid OR custodial_wallet = %(called)s OR metadata ->> 'name' = %(called)s
ORDER BY registered_at, farmer_id;

-- name: select_live_blocks
-- The newest blocks, each with how much of it was done, when planting began and how many plants came to nothing.
SELECT b.block_index, b.status, b.started_at, b.closed_at, b.planted, b.worked, b.harvested, b.best_zeros,
       b.staked_stroops, b.rewarded_stroops, b.forecast_stroops, lost.unplanted,
       (SELECT min(created_at) FROM plantings WHERE block_index = b.block_index AND pooler_id = b.pooler_id) AS planted_at
FROM (
    SELECT * FROM block_completion
    WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s) AND block_index >= %(from_index)s
    ORDER BY block_index DESC LIMIT %(limit)s) b
CROSS JOIN LATERAL (
    SELECT count(DISTINCT p.farmer_id) AS unplanted FROM plantings p
    WHERE p.block_index = b.block_index AND p.pooler_id = b.pooler_id AND p.outcome = 'failed'
      AND NOT EXISTS (
        SELECT FROM plantings q
        WHERE q.block_index = p.block_index AND q.farmer_id = p.farmer_id AND q.outcome = 'planted')) lost
ORDER BY b.block_index DESC;

-- name: select_live_workers
-- Searchers heard of lately.
SELECT node, kind, backend, threads, hashes_per_second, best_zeros, last_seen_at
FROM workers WHERE status = 'alive' AND last_seen_at > now() - interval '15 seconds'
ORDER BY node, kind, worker_id;

-- name: select_miners_hashrate
-- What external miners were credited over the last minute, per second.
SELECT coalesce(sum(recent.credited), 0)::float8 / 60 AS hashes_per_second, count(recent.credited) AS miners
FROM miners m
CROSS JOIN LATERAL (
    SELECT sum(credited_hashes) AS credited FROM shares
    WHERE miner_id = m.miner_id AND found_at > now() - interval '1 minute') recent
WHERE m.last_seen_at > now() - interval '5 minutes';

-- name: select_paused
-- Whether operators have paused planting: for the whole pool, or for each of the poolers that are active.
SELECT planting_paused OR EXISTS (SELECT FROM poolers WHERE status = 'active' AND planting_paused)
       AND NOT EXISTS (SELECT FROM poolers WHERE status = 'active' AND NOT planting_paused) AS planting_paused
FROM pool_switches;

-- name: select_now
-- The database's clock, which stamps the events.
SELECT now() AS now;

-- name: count_open_submissions
SELECT count(*) AS open FROM submissions WHERE status = 'open';

-- name: select_movements
-- What each farmer staked, got back, paid out (withdrawn or on leaving) and was paid by others of the pool in ledgers
-- after this one: its KALE moved by that, and by what others sent. Somebody else's harvest has no ledger: it counts if
-- the block began no earlier than block_index, and was harvested after this ledger for sure.
SELECT f.farmer_id, f.custodial_wallet, f.metadata ->> 'name' AS name, p.staked_stroops, h.rewarded_stroops,
       h.returned_stroops, h.forecast_stroops, p.planted, w.worked, h.harvested, w.best_zeros,
       paid.in_stroops AS paid_in_stroops, paid.out_stroops AS paid_out_stroops
FROM farmers f
CROSS JOIN LATERAL (
    SELECT coalesce(sum(stake_stroops), 0) AS staked_stroops, count(*) AS planted
    FROM plantings WHERE farmer_id = f.farmer_id AND outcome = 'planted' AND ledger > %(ledger)s) p
CROSS JOIN LATERAL (
    SELECT count(DISTINCT block_index) AS worked, max(zeros) AS best_zeros
    FROM works WHERE farmer_id = f.farmer_id AND outcome = 'worked' AND ledger > %(ledger)s) w
CROSS JOIN LATERAL (
    SELECT coalesce(sum(reward_stroops), 0) AS rewarded_stroops, coalesce(sum(stake_stroops), 0) AS returned_stroops,
           coalesce(sum(forecast_stroops), 0) AS forecast_stroops, count(*) AS harvested
    FROM harvests WHERE farmer_id = f.farmer_id AND outcome = 'harvested'
      AND (ledger > %(ledger)s OR (ledger IS NULL AND block_index >= %(block_index)s))) h
CROSS JOIN LATERAL (
    SELECT coalesce(sum(i.amount_stroops) FILTER (WHERE i.farmer_id = f.farmer_id), 0) AS out_stroops,
           coalesce(sum(i.amount_stroops) FILTER (WHERE i.destination = f.custodial_wallet), 0) AS in_stroops
    FROM submission_items i
    JOIN submissions s USING (submission_id)
    LEFT JOIN withdrawals wish USING (withdrawal_id)
    WHERE i.status = 'applied' AND s.ledger > %(ledger)s AND i.action IN ('payment', 'merge')
      AND (i.action = 'merge' OR wish.asset = 'KALE')
      AND (i.farmer_id = f.farmer_id OR i.destination = f.custodial_wallet)) paid
WHERE f.pooler_id = %(pooler_id)s
ORDER BY f.registered_at, f.farmer_id;
