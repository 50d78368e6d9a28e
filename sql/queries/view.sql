-- What people look at: the page, the terminal, `kalepool status`, and the closing table of `kalepool up`. The page is public:
-- custodial wallets, never names, keys or payout wallets of farmers.

-- One moment of the pool: kalepool/view/moment.py.

-- name: select_farmers_in_block
-- Every farmer that takes part or waits to, or took part in this block, with how far it is in it; the best work counts,
-- and the last harvest of whichever block. Of one pooler unless null. Names are for the operator: the page shows none.
SELECT f.farmer_id, f.custodial_wallet, f.metadata ->> 'name' AS name,
       CASE WHEN f.status = 'active' AND f.paused THEN 'paused' ELSE f.status END AS status, p.stake_stroops, best.zeros AS found_zeros,
       w.zeros AS worked_zeros, w.gap, h.forecast_stroops, h.reward_stroops, h.created_at AS harvested_at,
       p.transaction_hash AS plant_transaction, w.transaction_hash AS work_transaction,
       h.transaction_hash AS harvest_transaction,
       CASE WHEN h.reward_stroops IS NULL THEN coalesce(lost.code, failed.code) END AS failed_code,
       last.block_index AS received_index, last.reward_stroops AS received_stroops, f.deposit_stroops, f.plants_itself
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
LEFT JOIN LATERAL (
    SELECT block_index, reward_stroops FROM harvests
    WHERE farmer_id = f.farmer_id AND outcome = 'harvested' ORDER BY block_index DESC LIMIT 1) last ON true
WHERE (%(pooler_id)s::uuid IS NULL OR f.pooler_id = %(pooler_id)s)
  AND ((%(everybody)s AND f.status <> 'departed') OR p.event_id IS NOT NULL OR failed.code IS NOT NULL)
ORDER BY f.registered_at, f.farmer_id;

-- name: select_blocks_done
-- The newest blocks of a range, each with how much of it was done, when planting began and how many farmers could not be
-- planted; of one pooler, or of all together if null.
SELECT b.block_index, bool_or(b.status = 'open') AS open, bool_or(b.status = 'given_up') AS given_up,
       min(b.started_at) AS started_at, CASE WHEN NOT bool_or(b.status = 'open') THEN max(b.closed_at) END AS closed_at,
       sum(b.planted)::bigint AS planted, sum(b.worked)::bigint AS worked, sum(b.harvested)::bigint AS harvested,
       max(b.best_zeros) AS best_zeros, sum(b.staked_stroops) AS staked_stroops,
       sum(b.rewarded_stroops) AS rewarded_stroops, sum(b.forecast_stroops) AS forecast_stroops,
       sum(lost.unplanted)::bigint AS unplanted, min(tried.planted_at) AS planted_at
FROM (
    SELECT DISTINCT block_index FROM block_operations
    WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
      AND block_index BETWEEN %(from_index)s AND %(to_index)s
    ORDER BY block_index DESC LIMIT %(limit)s) newest
JOIN block_completion b USING (block_index)
CROSS JOIN LATERAL (
    SELECT min(created_at) AS planted_at FROM plantings
    WHERE block_index = b.block_index AND pooler_id = b.pooler_id) tried
CROSS JOIN LATERAL (
    SELECT count(DISTINCT p.farmer_id) AS unplanted FROM plantings p
    WHERE p.block_index = b.block_index AND p.pooler_id = b.pooler_id AND p.outcome = 'failed'
      AND NOT EXISTS (
        SELECT FROM plantings q
        WHERE q.block_index = p.block_index AND q.farmer_id = p.farmer_id AND q.outcome = 'planted')) lost
WHERE %(pooler_id)s::uuid IS NULL OR b.pooler_id = %(pooler_id)s
GROUP BY b.block_index
ORDER BY b.block_index DESC;

-- name: select_searchers
-- Who searches now: our workers by number, and miners by the latest point of their rigs.
SELECT worker_id AS id, kind, '' AS name, hashes_per_second, number, node, backend, threads, best_zeros
FROM (SELECT *, row_number() OVER (ORDER BY joined_at, worker_id) AS number FROM workers) w
WHERE status = 'alive' AND last_seen_at > now() - interval '15 seconds'
UNION ALL
SELECT m.miner_id, 'miner', m.name, sum(newest.hashes_per_second), 0, '', '', 0, 0
FROM (
    SELECT DISTINCT ON (searcher) searcher, hashes_per_second FROM hashrates
    WHERE sampled_at BETWEEN now() - interval '25 seconds' AND now() ORDER BY searcher, sampled_at DESC) newest
JOIN rigs r USING (searcher)
JOIN miners m USING (miner_id)
GROUP BY m.miner_id, m.name
ORDER BY 2, 5, 4 DESC;

-- name: select_last_loss
-- What the newest block before this one with plants lost; of one pooler unless null.
SELECT l.block_index, count(*) AS farmers, sum(l.stake_stroops) AS stake_stroops
FROM lost_stakes l JOIN farmers f USING (farmer_id)
WHERE (%(pooler_id)s::uuid IS NULL OR f.pooler_id = %(pooler_id)s)
  AND l.block_index = (
    SELECT max(block_index) FROM plantings
    WHERE outcome = 'planted' AND block_index < %(before_index)s
      AND (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s))
GROUP BY l.block_index;

-- name: select_paused
-- Whether operators have paused planting: for the whole pool, or for each of the poolers that are active.
SELECT planting_paused OR EXISTS (SELECT FROM poolers WHERE status = 'active' AND planting_paused)
       AND NOT EXISTS (SELECT FROM poolers WHERE status = 'active' AND NOT planting_paused) AS planting_paused
FROM pool_switches;

-- name: select_block_plans
-- What was meant for a block and the next; of one pooler, or of all together if null.
SELECT block_index AS index, sum(farmers)::bigint AS farmers, sum(places)::bigint AS places, max(stake_stroops) AS stake_stroops,
       sum(reward_stroops) AS reward_stroops, max(pail_fee_stroops) AS pail_fee_stroops, max(price_xlm) AS price,
       max(reason) AS reason, max(least_zeros) AS least_zeros
FROM block_plans
WHERE (%(pooler_id)s::uuid IS NULL OR pooler_id = %(pooler_id)s)
  AND block_index BETWEEN %(block_index)s AND %(block_index)s + 1
GROUP BY block_index
ORDER BY block_index;

-- The chart: kalepool/view/history.py.

-- name: select_hashrates
-- Each worker's or miner's hashrates within the bins of so many seconds since the first: "bin:rate bin:rate". As text, in a row
-- each: tens of thousands of rows would take the event loop long.
SELECT kind, number, miner_id, name, max(bin) AS newest,
       string_agg(bin || ':' || hashes_per_second, ' ' ORDER BY bin) AS rates
FROM (
    SELECT sampled.bin, w.kind, w.number, m.miner_id, m.name, sum(sampled.hashes_per_second) AS hashes_per_second
    FROM (
        SELECT floor(extract(epoch FROM sampled_at) / %(bin_seconds)s)::bigint - %(first_bin)s AS bin, searcher,
               avg(hashes_per_second) AS hashes_per_second
        FROM hashrates WHERE sampled_at >= %(since)s GROUP BY 1, searcher) sampled
    LEFT JOIN (
        SELECT searcher, kind, row_number() OVER (ORDER BY joined_at, worker_id) AS number FROM workers) w USING (searcher)
    LEFT JOIN rigs r USING (searcher)
    LEFT JOIN miners m USING (miner_id)
    GROUP BY sampled.bin, w.kind, w.number, m.miner_id, m.name) AS rated
GROUP BY kind, number, miner_id, name
ORDER BY min(bin), kind, number, name;

-- One block, farmer or miner: the page.

-- name: select_page_block
-- What the chain said of a block when it was last read.
SELECT * FROM blocks WHERE block_index = %(block_index)s;

-- name: select_newest_index
-- The newest block that is in our records; -1 before the first.
SELECT greatest(coalesce((SELECT max(block_index) FROM blocks), -1),
                coalesce((SELECT max(block_index) FROM plantings), -1),
                coalesce((SELECT max(block_index) FROM block_operations), -1)) AS block_index;

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
SELECT f.farmer_id, f.custodial_wallet, f.status, f.paused, f.registered_at, p.blocks_planted, p.blocks_worked, p.blocks_harvested,
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
-- One miner, by the name it chose, with what it has earned, and was paid.
SELECT m.miner_id, m.name, m.created_at, m.last_seen_at, m.banned_until > now() AS banned, m.payout_code,
       (SELECT credit_stroops FROM account_moves('miner/' || m.miner_id, 'credited')) AS earned_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'miner/' || m.miner_id), 0) AS due_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'paying/' || m.miner_id), 0) AS paying_stroops,
       (SELECT sum(debit_stroops) FROM unnest(ARRAY['miner/', 'paying/']) kind,
                                       account_moves(kind || m.miner_id, 'paid')) AS paid_stroops
FROM miners m WHERE m.miner_id = %(miner_id)s;

-- name: select_page_miner_blocks
-- A miner's newest blocks: its shares, and its part of what all miners and our own workers hashed.
SELECT c.block_index, sum(c.shares) FILTER (WHERE c.outcome = 'accepted')::bigint AS accepted,
       sum(c.shares) FILTER (WHERE c.outcome = 'solo')::bigint AS solo,
       sum(c.shares) FILTER (WHERE c.outcome NOT IN ('accepted', 'solo'))::bigint AS refused,
       sum(c.credited_hashes) FILTER (WHERE c.outcome = 'accepted') AS credited_hashes,
       (SELECT coalesce(sum(credited_hashes), 0) FROM share_counts a
        WHERE a.block_index = c.block_index AND a.outcome = 'accepted')
       + coalesce((SELECT hashes FROM house_hashes h WHERE h.block_index = c.block_index), 0) AS hashes_of_all
FROM share_counts c
WHERE c.miner_id = %(miner_id)s
GROUP BY c.block_index
ORDER BY c.block_index DESC
LIMIT %(limit)s;

-- name: select_pages_called
-- The block of this index if it is in our records, the farmer of this wallet, and miners of this name; or of this id, of miners its end too.
-- `first` and `last`: of a wallet in its short form, else null.
SELECT 'block' AS what, %(index)s::bigint::text AS id, %(index)s::bigint::text AS name
WHERE %(index)s::bigint IS NOT NULL
  AND (EXISTS (SELECT FROM blocks WHERE block_index = %(index)s::bigint)
       OR EXISTS (SELECT FROM plantings WHERE block_index = %(index)s::bigint)
       OR EXISTS (SELECT FROM block_operations WHERE block_index = %(index)s::bigint))
UNION ALL
SELECT 'farmer', farmer_id::text, custodial_wallet
FROM farmers WHERE custodial_wallet = upper(%(called)s) OR farmer_id::text = lower(%(called)s)
UNION ALL
(SELECT 'farmer', farmer_id::text, custodial_wallet
FROM farmers WHERE custodial_wallet LIKE %(first)s::text || '%%' || %(last)s::text
ORDER BY custodial_wallet LIMIT 50)
UNION ALL
(SELECT 'miner', miner_id::text, name
FROM miners WHERE lower(name) = lower(%(called)s) OR lower(%(called)s) IN (miner_id::text, right(miner_id::text, 8))
ORDER BY name, miner_id LIMIT 50);

-- `kalepool farmer`: kalepool/view/farmer_text.py.

-- name: select_farmers_called
-- Farmers with this custodial wallet or name, and the one with this id.
SELECT farmer_id, custodial_wallet, payout_wallet, status, metadata ->> 'name' AS name
FROM farmers
WHERE farmer_id = %(farmer_id)s::uuid OR custodial_wallet = %(called)s OR metadata ->> 'name' = %(called)s
ORDER BY registered_at, farmer_id;

-- The books of a run: kalepool/up/books.py.

-- name: select_now
-- The database's clock, which stamps the events.
SELECT now() AS now;

-- name: count_open_submissions
-- Those on their way. One whose time bound is long over waits for an operator, or for an RPC server that answers.
SELECT count(*) AS open FROM submissions
WHERE status = 'open' AND valid_until > now() - make_interval(secs => %(grace_seconds)s);

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
    WHERE i.status = 'applied' AND s.ledger > %(ledger)s AND i.action IN ('payment', 'merge', 'collect', 'payout')
      AND i.asset = 'KALE'
      AND (i.farmer_id = f.farmer_id OR i.destination = f.custodial_wallet)) paid
WHERE f.pooler_id = %(pooler_id)s
ORDER BY f.registered_at, f.farmer_id;

-- name: select_page_checks
-- How each kind of account was found when it was held against the chain: what it has there beyond its books.
SELECT split_part(account, '/', 1) AS kind, sum(difference_stroops) AS difference_stroops
FROM book_checks WHERE looked_at IS NOT NULL GROUP BY 1;

-- name: select_page_payouts
-- The last payments to miners and what was put down for them, the newest first. Where they went is the miners' own.
SELECT posted_at, amount_stroops, ledger, transaction_hash FROM transfers
WHERE credit = 'treasury' AND event IN ('paid', 'put-down') ORDER BY number DESC LIMIT %(limit)s;
