-- coordinator/: what it needs to know of its pooler, and what it records of blocks, shares and workers.

-- name: select_coordinated_farmers
-- The pooler's farmers that take part: active ones plant, leaving and paused ones only end what they began. Who plants
-- itself is not searched for where it has not prepaid, nor, when it leaves, in blocks that it planted in after that.
SELECT farmer_id, custodial_wallet AS wallet, status = 'active' AND NOT paused AND NOT plants_itself AS may_plant,
       stake_percentage, stake_most_stroops, plants_itself
FROM farmers
WHERE pooler_id = %(pooler_id)s AND status IN ('active', 'leaving')
  AND (NOT plants_itself OR price_stroops = 0 OR prepaid_stroops >= price_stroops)
  AND (NOT plants_itself OR status = 'active'
       OR EXISTS (SELECT FROM plantings p WHERE p.farmer_id = farmers.farmer_id AND p.outcome = 'planted'
                  AND p.block_index >= (SELECT max(o.block_index) FROM block_operations o WHERE o.pooler_id = farmers.pooler_id)))
ORDER BY registered_at, farmer_id;

-- name: open_block_operation
-- The pooler takes part in this block. The same block seen again changes nothing; another chain's block of this index does.
INSERT INTO block_operations AS o (block_index, pooler_id, entropy, started_at)
VALUES (%(block_index)s, %(pooler_id)s, %(entropy)s, %(started_at)s)
ON CONFLICT (block_index, pooler_id) DO UPDATE
SET entropy = excluded.entropy, started_at = excluded.started_at, seen_at = now(),
    status = 'open', reason = NULL, closed_at = NULL
WHERE o.entropy <> excluded.entropy;

-- name: close_block_operations
-- Blocks before this one are over, once no work of theirs is under way: finished if every planted farmer was worked.
UPDATE block_operations o
SET status = CASE WHEN left_over.farmers = 0 THEN 'finished' ELSE 'given_up' END,
    reason = CASE WHEN left_over.farmers > 0 THEN left_over.farmers || ' planted farmers were not worked' END,
    closed_at = now()
FROM (
    SELECT b.block_index, count(p.farmer_id) AS farmers
    FROM block_operations b
    LEFT JOIN plantings p ON p.block_index = b.block_index AND p.pooler_id = b.pooler_id AND p.outcome = 'planted'
        AND NOT EXISTS (SELECT FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked')
    WHERE b.pooler_id = %(pooler_id)s AND b.status = 'open' AND b.block_index < %(block_index)s
    GROUP BY b.block_index) left_over
WHERE o.pooler_id = %(pooler_id)s AND o.block_index = left_over.block_index
  AND NOT EXISTS (
    SELECT FROM submission_items i JOIN submissions s USING (submission_id)
    WHERE i.block_index = o.block_index AND i.action IN ('plant', 'work') AND i.status = 'open' AND s.pooler_id = o.pooler_id);

-- name: upsert_block
-- What the chain says of a block; never again once its final state is known.
INSERT INTO blocks AS b (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops,
    min_zeros, max_zeros, staked_total_stroops, normalized_total, final, ledger, others_staked_stroops)
VALUES (%(block_index)s, %(entropy)s, %(started_at)s, %(min_gap)s, %(max_gap)s, %(min_stake)s, %(max_stake)s,
    %(min_zeros)s, %(max_zeros)s, %(staked_total)s, %(normalized_total)s, %(final)s, %(ledger)s,
    %(others_staked)s)
ON CONFLICT (block_index) DO UPDATE
SET entropy = excluded.entropy, started_at = excluded.started_at, min_gap = excluded.min_gap, max_gap = excluded.max_gap,
    min_stake_stroops = excluded.min_stake_stroops, max_stake_stroops = excluded.max_stake_stroops,
    min_zeros = excluded.min_zeros, max_zeros = excluded.max_zeros, staked_total_stroops = excluded.staked_total_stroops,
    normalized_total = excluded.normalized_total, final = excluded.final, ledger = excluded.ledger, read_at = now(),
    others_staked_stroops = coalesce(excluded.others_staked_stroops, b.others_staked_stroops)
WHERE NOT b.final OR b.entropy <> excluded.entropy;

-- name: select_block_records
-- The shares of a block that had more zeros than the farmer's before, fewest zeros first: one for each number of zeros.
SELECT DISTINCT ON (f.custodial_wallet, s.zeros) f.custodial_wallet AS wallet, s.zeros, s.nonce
FROM shares s JOIN farmers f USING (farmer_id)
WHERE s.block_index = %(block_index)s AND f.pooler_id = %(pooler_id)s
ORDER BY f.custodial_wallet, s.zeros, s.found_at;

-- name: insert_worker_shares
-- Shares of our own workers, already verified. One that is there already stays as it is.
INSERT INTO shares (share_id, block_index, farmer_id, searcher, nonce, hash, zeros, found_at)
SELECT * FROM unnest(%(share_ids)s::uuid[], %(block_indexes)s::bigint[], %(farmer_ids)s::uuid[], %(searchers)s::bigint[],
    %(nonces)s::numeric[], %(hashes)s::bytea[], %(zeros)s::integer[], %(found_at)s::timestamptz[])
ON CONFLICT (block_index, farmer_id, nonce) DO NOTHING;

-- name: select_next_searchers
-- Searcher serials nobody ever had, the highest last.
SELECT nextval('searcher_ids') AS searcher FROM generate_series(1, %(count)s);

-- name: notify_shares
-- Tell everybody of shares with more zeros than all before, when this transaction is committed.
SELECT pg_notify('shares', payload) FROM unnest(%(payloads)s::text[]) AS payload;

-- name: select_unharvested_pails
-- Pails that were worked within the last day, and neither harvested nor found to be gone.
SELECT DISTINCT w.block_index, f.custodial_wallet AS wallet, f.farmer_id
FROM works w JOIN farmers f USING (farmer_id)
WHERE w.pooler_id = %(pooler_id)s AND w.outcome = 'worked' AND w.block_index BETWEEN %(first)s AND %(last)s
  AND f.status IN ('active', 'leaving')
  AND (NOT f.plants_itself OR f.price_stroops = 0 OR f.prepaid_stroops >= f.price_stroops) AND NOT EXISTS (
    SELECT FROM harvests h WHERE h.block_index = w.block_index AND h.farmer_id = w.farmer_id
    AND (h.outcome = 'harvested' OR h.code IN ('pail-missing', 'block-missing')));

-- name: insert_unanswered_work
-- A call with works that the pool's own API did not answer: an attempt, and no fault of who made it.
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, code, message, fault, seconds_left)
VALUES (%(event_id)s, %(block_index)s, %(pooler_id)s, %(farmer_id)s, 'failed', 'api-unavailable',
        'the pool''s API did not answer', 'backend', %(seconds_left)s);

-- name: select_works_record
-- How many pails had to be worked in these blocks, and how many of them were not.
SELECT count(*) AS due,
       count(*) FILTER (WHERE NOT EXISTS (
           SELECT FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked')) AS lost
FROM plantings p
WHERE p.pooler_id = %(pooler_id)s AND p.outcome = 'planted' AND p.block_index BETWEEN %(first)s AND %(last)s;

-- name: select_past_blocks
-- Blocks that are over, the oldest first: bounds and points, what others had staked, and the pooler's worked pails.
SELECT b.block_index, b.started_at, b.min_gap, b.max_gap, b.min_stake_stroops, b.max_stake_stroops, b.min_zeros, b.max_zeros,
       b.staked_total_stroops, b.normalized_total, b.others_staked_stroops, ours.stakes, ours.gaps, ours.zeros
FROM blocks b
CROSS JOIN LATERAL (
    SELECT array_agg(p.stake_stroops::numeric ORDER BY p.farmer_id) AS stakes, array_agg(w.gap ORDER BY p.farmer_id) AS gaps,
           array_agg(w.zeros ORDER BY p.farmer_id) AS zeros
    FROM plantings p
    CROSS JOIN LATERAL (
        SELECT gap, zeros FROM works
        WHERE block_index = p.block_index AND farmer_id = p.farmer_id AND outcome = 'worked'
        ORDER BY zeros DESC, event_id DESC LIMIT 1) w
    WHERE p.block_index = b.block_index AND p.pooler_id = %(pooler_id)s AND p.outcome = 'planted') ours
WHERE b.final AND b.block_index BETWEEN %(first)s AND %(last)s
ORDER BY b.block_index;

-- name: select_pail_fees
-- What plants, works and harvests made since an id have cost the pool, failed ones too, and for how many pails it paid;
-- and since a later id (recent) for how many the pool paid, and a relayer.
SELECT s.action, sum(s.fee_stroops) AS fee_stroops,
       coalesce(sum(done.pails) FILTER (WHERE NOT done.relayed), 0)::bigint AS pails,
       coalesce(sum(done.pails) FILTER (WHERE NOT done.relayed AND s.submission_id >= %(recent)s), 0)::bigint AS direct,
       coalesce(sum(done.pails) FILTER (WHERE done.relayed AND s.submission_id >= %(recent)s), 0)::bigint AS relayed
FROM submissions s
CROSS JOIN LATERAL (
    SELECT count(*) AS pails, s.submitter IS NOT DISTINCT FROM 'relayer' AS relayed
    FROM submission_items WHERE submission_id = s.submission_id AND status = 'applied') done
WHERE s.submission_id >= %(since)s AND s.action IN ('plant', 'work', 'harvest') AND s.fee_stroops IS NOT NULL
GROUP BY s.action;

-- name: select_power
-- Hashes a second of all who search, our workers and miners' rigs, by their latest points.
SELECT coalesce(sum(hashes_per_second), 0) AS hashes_per_second
FROM (SELECT DISTINCT ON (searcher) hashes_per_second FROM hashrates
      WHERE sampled_at > now() - interval '25 seconds' ORDER BY searcher, sampled_at DESC) newest;

-- name: upsert_block_plan
-- What is meant for a block.
INSERT INTO block_plans (block_index, pooler_id, farmers, places, stake_stroops, reward_stroops, pail_fee_stroops, price_xlm,
                         reason, least_zeros)
VALUES (%(block_index)s, %(pooler_id)s, %(farmers)s, %(places)s, %(stake_stroops)s, %(reward_stroops)s,
        %(pail_fee_stroops)s, %(price_xlm)s, %(reason)s, %(least_zeros)s)
ON CONFLICT (block_index, pooler_id) DO UPDATE
SET farmers = excluded.farmers, places = excluded.places, stake_stroops = excluded.stake_stroops,
    reward_stroops = excluded.reward_stroops, pail_fee_stroops = excluded.pail_fee_stroops, price_xlm = excluded.price_xlm,
    reason = excluded.reason, least_zeros = excluded.least_zeros, planned_at = now();

-- name: upsert_workers
-- Workers as they are now; what they hashed since the last time counts for the block that is open.
WITH now AS (
    SELECT * FROM unnest(%(worker_ids)s::uuid[], %(searchers)s::bigint[], %(nodes)s::text[], %(kinds)s::text[],
        %(backends)s::text[], %(threads)s::integer[], %(versions)s::text[], %(speeds)s::double precision[],
        %(hashes)s::numeric[], %(best_zeros)s::integer[])
    AS worker (worker_id, searcher, node, kind, backend, threads, version, hashes_per_second, hashes, best_zeros)
), counted AS (
    INSERT INTO house_hashes AS house (block_index, hashes)
    SELECT o.block_index, sum(greatest(now.hashes - coalesce(before.hashes, 0), 0))
    FROM now LEFT JOIN workers before USING (worker_id)
    CROSS JOIN (SELECT max(block_index) AS block_index FROM block_operations WHERE status = 'open') o
    WHERE o.block_index IS NOT NULL
    GROUP BY o.block_index
    ON CONFLICT (block_index) DO UPDATE SET hashes = house.hashes + excluded.hashes
)
INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, hashes_per_second, hashes, best_zeros)
SELECT * FROM now
ON CONFLICT (worker_id) DO UPDATE
SET status = 'alive', searcher = excluded.searcher, hashes_per_second = excluded.hashes_per_second, hashes = excluded.hashes,
    best_zeros = excluded.best_zeros, last_seen_at = now();

-- name: retire_workers
-- These are gone, and whoever was not seen for a while: its coordinator is.
UPDATE workers SET status = 'gone', hashes_per_second = 0
WHERE status = 'alive' AND (worker_id = ANY (%(worker_ids)s::uuid[]) OR last_seen_at < now() - interval '1 minute');

-- name: insert_hashrates
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second)
SELECT now(), * FROM unnest(%(searchers)s::bigint[], %(speeds)s::double precision[]);
