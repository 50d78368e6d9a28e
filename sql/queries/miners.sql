-- services/mining/: registration, rigs, shares, credits.

-- name: select_job_key
-- The key behind job ids.
SELECT key FROM job_key;

-- name: insert_miner
INSERT INTO miners (miner_id, name, payout_wallet) VALUES (%(miner_id)s, %(name)s, %(payout_wallet)s)
RETURNING miner_id, name, payout_wallet, status, banned_until, bans, ban_reason, suspicion, created_at, last_seen_at;

-- name: select_miner
SELECT miner_id, name, payout_wallet, status, banned_until, bans, ban_reason, suspicion, created_at, last_seen_at
FROM miners WHERE miner_id = %(miner_id)s;

-- name: select_miner_called
-- The first miner of this name. Who registers by itself is free in its choice, so there may be more.
SELECT miner_id FROM miners WHERE name = %(name)s ORDER BY created_at, miner_id LIMIT 1;

-- name: select_miners
-- A page of miners, oldest first.
SELECT miner_id, name, payout_wallet, status, banned_until, bans, ban_reason, suspicion, created_at, last_seen_at
FROM miners
WHERE %(after)s::uuid IS NULL OR miner_id > %(after)s
ORDER BY miner_id
LIMIT %(limit)s;

-- name: select_miner_bans
SELECT miner_id, status, banned_until, bans, ban_reason, ban_lifts FROM miners WHERE miner_id = ANY (%(miner_ids)s::uuid[]);

-- name: update_miner_ban
-- Bans a miner, unless a ban of it was lifted since it was read with so many lifts.
UPDATE miners SET banned_until = %(banned_until)s, bans = %(bans)s, ban_reason = %(ban_reason)s
WHERE miner_id = %(miner_id)s AND ban_lifts = %(lifts)s;

-- name: lift_miner_ban
UPDATE miners SET banned_until = NULL, bans = 0, ban_reason = NULL, ban_lifts = ban_lifts + 1
WHERE miner_id = %(miner_id)s;

-- name: touch_miners
-- Always in the same order, or two processes could wait for each other.
WITH seen AS (
    SELECT miner_id, at FROM unnest(%(miner_ids)s::uuid[], %(seen_at)s::timestamptz[]) AS seen (miner_id, at)
    JOIN miners USING (miner_id) ORDER BY miner_id FOR NO KEY UPDATE OF miners
)
UPDATE miners SET last_seen_at = greatest(last_seen_at, seen.at) FROM seen WHERE miners.miner_id = seen.miner_id;

-- name: insert_miner_invite
INSERT INTO miner_invites (invite_id, invite_hash, label, uses_left, expires_at)
VALUES (%(invite_id)s, %(invite_hash)s, %(label)s, %(uses)s, %(expires_at)s)
RETURNING invite_id, label, uses_left, created_at, expires_at;

-- name: select_miner_invites
-- Invitations that may still be used, the newest first.
SELECT invite_id, label, uses_left, created_at, expires_at FROM miner_invites
WHERE uses_left > 0 AND expires_at > now() ORDER BY invite_id DESC LIMIT %(limit)s;

-- name: end_miner_invite
UPDATE miner_invites SET uses_left = 0 WHERE invite_id = %(invite_id)s AND uses_left > 0;

-- name: use_miner_invite
-- Takes one use of an invitation; touches no row where there is none left.
UPDATE miner_invites SET uses_left = uses_left - 1
WHERE invite_hash = %(invite_hash)s AND uses_left > 0 AND expires_at > now();

-- name: take_rigs
-- Rigs by their names. Each is at `home` from now on, unless another process that is there has it: then that is given. Those
-- that are known to be gone are `gone`; at_once: taken wherever it was. Always in the same order, or two processes could wait
-- for each other.
WITH wanted AS (
    SELECT * FROM unnest(%(miner_ids)s::uuid[], %(names)s::text[], %(at_once)s::boolean[]) AS wanted (miner_id, name, at_once)
), found AS (
    SELECT r.searcher, r.home, w.at_once FROM rigs r JOIN wanted w USING (miner_id, name) ORDER BY r.searcher FOR NO KEY UPDATE OF r
), there AS (
    SELECT process_id FROM api_processes
    WHERE process_id <> ALL (%(gone)s::uuid[]) AND seen_at > now() - make_interval(secs => %(alive_seconds)s::float)
), taken AS (
    UPDATE rigs SET home = %(home)s FROM found
    WHERE rigs.searcher = found.searcher
      AND (found.home IS NULL OR (found.home <> %(home)s AND (found.at_once OR found.home NOT IN (SELECT process_id FROM there))))
    RETURNING rigs.searcher
)
SELECT r.searcher, r.miner_id, r.name, r.difficulty,
       CASE WHEN t.searcher IS NULL AND f.home <> %(home)s THEN f.home END AS elsewhere
FROM found f JOIN rigs r USING (searcher) LEFT JOIN taken t USING (searcher);

-- name: leave_rigs
-- These rigs are at this process no more, where they still were. Always in the same order.
WITH gone AS (
    SELECT searcher, left_now.difficulty, left_now.seen_at
    FROM unnest(%(searchers)s::bigint[], %(difficulties)s::numeric[], %(seen_at)s::timestamptz[])
        AS left_now (searcher, difficulty, seen_at)
    JOIN rigs USING (searcher) WHERE rigs.home = %(home)s ORDER BY searcher FOR NO KEY UPDATE OF rigs
)
UPDATE rigs SET home = NULL, difficulty = gone.difficulty, last_seen_at = greatest(rigs.last_seen_at, gone.seen_at)
FROM gone WHERE rigs.searcher = gone.searcher;

-- name: count_rigs_at_home
-- A miner's rigs that some process has.
SELECT count(*) AS rigs FROM rigs WHERE miner_id = %(miner_id)s AND home IS NOT NULL;

-- name: insert_rigs
-- New rigs, each with a searcher of its own; not those that are there, nor beyond the most that a miner may have. Always in
-- the same order.
INSERT INTO rigs (miner_id, name, home)
SELECT new.miner_id, new.name, %(home)s::uuid
FROM (SELECT miner_id, name, row_number() OVER (PARTITION BY miner_id ORDER BY position) AS place
      FROM unnest(%(miner_ids)s::uuid[], %(names)s::text[]) WITH ORDINALITY AS wanted (miner_id, name, position)) new
LEFT JOIN (SELECT miner_id, count(*) AS rigs FROM rigs WHERE miner_id = ANY (%(miner_ids)s::uuid[]) GROUP BY miner_id) present
    USING (miner_id)
WHERE new.place + coalesce(present.rigs, 0) <= %(most)s
ORDER BY new.miner_id, new.name
ON CONFLICT DO NOTHING
RETURNING searcher, miner_id, name, difficulty, NULL::uuid AS elsewhere;

-- name: take_over_rig
-- A rig gives its place to one of another name: this searcher, or the one that was not seen for the longest, of those that
-- are not known to be here.
UPDATE rigs SET name = %(name)s, difficulty = NULL, created_at = now(), last_seen_at = now(), home = %(home)s
WHERE searcher = coalesce(%(searcher)s::bigint, (
    SELECT searcher FROM rigs
    WHERE miner_id = %(miner_id)s AND searcher <> ALL (%(known)s::bigint[])
      AND last_seen_at < now() - make_interval(secs => %(idle_seconds)s::float)
    ORDER BY last_seen_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED))
RETURNING searcher, miner_id, name, difficulty, NULL::uuid AS elsewhere;

-- name: select_rig_owner
SELECT miner_id FROM rigs WHERE searcher = %(searcher)s;

-- name: select_rigs
SELECT searcher, name, difficulty, created_at, last_seen_at FROM rigs WHERE miner_id = %(miner_id)s ORDER BY name;

-- name: select_rig_work
-- What each rig of a miner brought within the last hour, and of that within the last ten minutes. solo: its newest share.
SELECT searcher, (array_agg(solo ORDER BY found_at DESC))[1] AS solo, count(*) AS shares, sum(credited_hashes) AS hashes, max(zeros) AS best_zeros, (array_agg(hash ORDER BY hash))[1] AS best_hash,
       count(*) FILTER (WHERE found_at > now() - interval '10 minutes') AS recent_shares,
       coalesce(sum(credited_hashes) FILTER (WHERE found_at > now() - interval '10 minutes'), 0) AS recent_hashes
FROM shares WHERE miner_id = %(miner_id)s AND found_at BETWEEN now() - interval '1 hour' AND now() GROUP BY searcher;

-- name: delete_rig
DELETE FROM rigs WHERE miner_id = %(miner_id)s AND searcher = %(searcher)s
RETURNING name;

-- name: update_rigs
-- Always in the same order, or two processes could wait for each other.
WITH now_known AS (
    SELECT searcher, now.difficulty, now.seen_at
    FROM unnest(%(searchers)s::bigint[], %(difficulties)s::numeric[], %(seen_at)s::timestamptz[]) AS now (searcher, difficulty, seen_at)
    JOIN rigs USING (searcher) ORDER BY searcher FOR NO KEY UPDATE OF rigs
)
UPDATE rigs SET difficulty = now_known.difficulty, last_seen_at = greatest(rigs.last_seen_at, now_known.seen_at)
FROM now_known WHERE rigs.searcher = now_known.searcher;

-- name: select_solo_farmer
-- A farmer by its id or its wallet, with the wallets of the miner that names it its own.
SELECT f.farmer_id, f.custodial_wallet AS wallet, f.payout_wallet AS farmers_wallet, f.payout_memo AS farmers_memo, m.*
FROM (SELECT miner_id, payout_wallet, payout_memo, next_wallet, next_memo, next_wallet_at, payout_seal FROM miners
      WHERE miner_id = %(miner_id)s) m
JOIN farmers f ON f.custodial_wallet = %(farmer)s OR f.farmer_id = %(farmer_id)s::uuid
WHERE f.status IN ('active', 'leaving');

-- name: select_places
-- Whom miners may hash for: in each pooler's newest block, if it is open, who has planted or still may: nobody more once as
-- many are planted as the plan has places.
SELECT o.block_index, o.pooler_id, o.entropy, o.started_at, f.farmer_id, f.custodial_wallet AS wallet, coalesce(best.zeros, 0) AS zeros,
       coalesce(b.min_zeros, 0) AS min_zeros, coalesce(plan.least_zeros, 0) AS least_zeros,
       greatest(extract(epoch FROM now() - o.seen_at)::float8, 0) AS age_seconds
FROM (SELECT DISTINCT ON (pooler_id) block_index, pooler_id, entropy, started_at, seen_at, status
      FROM block_operations ORDER BY pooler_id, block_index DESC) o
JOIN farmers f ON f.pooler_id = o.pooler_id
LEFT JOIN blocks b ON b.block_index = o.block_index
LEFT JOIN LATERAL (SELECT s.zeros FROM shares s WHERE s.block_index = o.block_index AND s.farmer_id = f.farmer_id
                   ORDER BY s.hash LIMIT 1) best ON true
LEFT JOIN LATERAL (SELECT bool_or(p.outcome = 'planted') AS planted FROM plantings p
                   WHERE p.block_index = o.block_index AND p.farmer_id = f.farmer_id) plant ON true
LEFT JOIN block_plans plan ON plan.block_index = o.block_index AND plan.pooler_id = o.pooler_id
LEFT JOIN LATERAL (SELECT count(*) AS pails FROM plantings p JOIN farmers own USING (farmer_id)
                   WHERE p.block_index = o.block_index AND p.pooler_id = o.pooler_id AND p.outcome = 'planted'
                     AND NOT own.plants_itself) taken ON true
WHERE o.status = 'open'
  AND (plant.planted OR (plant.planted IS NULL AND f.status = 'active' AND NOT f.paused AND NOT f.plants_itself
                          AND (plan.places IS NULL OR taken.pails < plan.places)));

-- name: select_next_job_serials
-- Numbers for jobs, that no job ever had.
SELECT nextval('job_serials') AS serial FROM generate_series(1, %(count)s);

-- name: insert_offers
-- Stores accepted shares and remembers refused ones, counts what is new of both, and tells of hits: one statement, one commit.
-- Gives the share_id of each new share, and the request_id of each new refusal.
WITH accepted AS (
    INSERT INTO shares (share_id, block_index, farmer_id, searcher, miner_id, nonce, hash, zeros, credited_hashes, request_id,
                        solo)
    SELECT * FROM unnest(
        %(share_ids)s::uuid[], %(block_indexes)s::bigint[], %(farmer_ids)s::uuid[], %(searchers)s::bigint[], %(miner_ids)s::uuid[],
        %(nonces)s::numeric[], %(hashes)s::bytea[], %(zeros)s::integer[], %(credited)s::numeric[], %(request_ids)s::bytea[],
        %(solo)s::boolean[])
        AS share (share_id, block_index, farmer_id, searcher, miner_id, nonce, hash, zeros, credited_hashes, request_id, solo)
    ORDER BY block_index, farmer_id, nonce  -- always the same order, or two processes could wait for each other
    ON CONFLICT (block_index, farmer_id, nonce) DO NOTHING
    RETURNING share_id, block_index, miner_id, credited_hashes, solo
), offered AS (
    SELECT DISTINCT ON (miner_id, request_id) *
    FROM unnest(
        %(refused_block_indexes)s::bigint[], %(refused_miner_ids)s::uuid[], %(refused_request_ids)s::bytea[], %(outcomes)s::text[],
        %(details)s::text[]) AS offer (block_index, miner_id, request_id, outcome, detail)
), refused AS (
    INSERT INTO refused_shares (miner_id, request_id, outcome, detail)
    SELECT miner_id, request_id, outcome, detail FROM offered ORDER BY miner_id, request_id
    ON CONFLICT DO NOTHING
    RETURNING miner_id, request_id
), counted AS (
    INSERT INTO share_counts (block_index, miner_id, outcome, shares, credited_hashes)
    SELECT block_index, miner_id, outcome, count(*), sum(credited)
    FROM (SELECT block_index, miner_id, CASE WHEN solo THEN 'solo' ELSE 'accepted' END AS outcome, credited_hashes AS credited
          FROM accepted
          UNION ALL
          SELECT block_index, miner_id, outcome, 0 FROM offered JOIN refused USING (miner_id, request_id)) AS new
    GROUP BY block_index, miner_id, outcome
    ORDER BY block_index, miner_id, outcome  -- always the same order, or two processes could wait for each other
    ON CONFLICT (block_index, miner_id, outcome) DO UPDATE
    SET shares = share_counts.shares + excluded.shares, credited_hashes = share_counts.credited_hashes + excluded.credited_hashes
), told AS (
    SELECT count(pg_notify('shares', news)) AS news
    FROM unnest(%(share_ids)s::uuid[], %(news)s::text[]) AS hit (share_id, news) JOIN accepted USING (share_id)
    WHERE news <> ''
)
SELECT share_id, NULL::uuid AS miner_id, NULL::bytea AS request_id FROM accepted
UNION ALL
SELECT NULL, miner_id, request_id FROM refused
UNION ALL
SELECT NULL, NULL, NULL FROM told WHERE news > 0;

-- name: select_shares_by_nonce
SELECT s.block_index, s.farmer_id, s.nonce, s.miner_id, s.request_id, s.zeros, s.credited_hashes
FROM unnest(%(block_indexes)s::bigint[], %(farmer_ids)s::uuid[], %(nonces)s::numeric[]) AS wanted (block_index, farmer_id, nonce)
JOIN shares s USING (block_index, farmer_id, nonce);

-- name: select_refused_shares
SELECT r.miner_id, r.request_id, r.outcome, r.detail
FROM unnest(%(miner_ids)s::uuid[], %(request_ids)s::bytea[]) AS wanted (miner_id, request_id)
JOIN refused_shares r USING (miner_id, request_id);

-- name: select_miner_hashrates
-- Shares and credited hashes of a miner within some windows of seconds.
SELECT w.seconds, count(s.share_id) AS shares, coalesce(sum(s.credited_hashes), 0) AS credited_hashes
FROM unnest(%(windows)s::integer[]) AS w (seconds)
LEFT JOIN shares s ON s.miner_id = %(miner_id)s AND s.found_at BETWEEN now() - make_interval(secs => w.seconds) AND now()
GROUP BY w.seconds ORDER BY w.seconds;

-- name: select_miner_outcomes
SELECT outcome, sum(shares)::bigint AS shares FROM share_counts WHERE miner_id = %(miner_id)s GROUP BY outcome;

-- name: select_credited_blocks
-- The newest blocks before one in which a share was brought or somebody planted.
SELECT block_index FROM (
    (SELECT DISTINCT block_index FROM share_counts WHERE outcome = 'accepted' AND block_index < %(before)s
     ORDER BY block_index DESC LIMIT %(limit)s)
    UNION
    (SELECT DISTINCT block_index FROM block_operations WHERE block_index < %(before)s
     ORDER BY block_index DESC LIMIT %(limit)s)) AS blocks
ORDER BY block_index DESC LIMIT %(limit)s;

-- name: select_credited_hashes
-- The published totals of a range of blocks: what our own workers hashed, and of every miner a line with its id, accepted
-- shares and credited hashes. As text: reading hundreds of rows a block would take long, where it must not.
SELECT block_index, coalesce(h.hashes, 0) AS house_hashes, m.miners
FROM (
    SELECT block_index, string_agg(concat_ws(' ', miner_id, shares, credited_hashes), E'\n' ORDER BY miner_id) AS miners
    FROM share_counts
    WHERE outcome = 'accepted' AND block_index BETWEEN %(first)s AND %(last)s
    GROUP BY block_index) m
FULL JOIN (SELECT * FROM house_hashes WHERE block_index BETWEEN %(first)s AND %(last)s) h USING (block_index);

-- name: select_block_rewards
-- What the farmers got for each block of a range, what of it is the pool's fee (of harvests from before it was part of
-- each farmer's terms by those of the block, or as said), what of that is SOLO's, and whether none of it is to come any
-- more: all that was worked is harvested or lost. old: three blocks and more are over since.
SELECT o.block_index, coalesce(sum(h.rewarded), 0) AS rewarded_stroops, coalesce(sum(h.fees), 0) AS fees_stroops,
       coalesce(sum(h.solo_fees), 0) AS solo_fees_stroops,
       bool_and(w.unsettled = 0) AND bool_and(o.status <> 'open') AS final,
       o.block_index < (SELECT max(block_index) FROM block_operations) - 3 AS old
FROM block_operations o
LEFT JOIN block_terms t USING (block_index)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(reward_stroops), 0) AS rewarded,
           coalesce(sum(coalesce(fee_stroops, floor(reward_stroops * coalesce(t.platform_fee, %(platform_fee)s::numeric)))), 0)
               AS fees,
           coalesce(sum(fee_stroops) FILTER (WHERE solo), 0) AS solo_fees FROM harvests
    WHERE block_index = o.block_index AND pooler_id = o.pooler_id AND outcome = 'harvested') h
CROSS JOIN LATERAL (
    SELECT count(*) AS unsettled FROM works w
    WHERE w.block_index = o.block_index AND w.pooler_id = o.pooler_id AND w.outcome = 'worked'
      AND NOT EXISTS (SELECT FROM harvests h
                      WHERE h.block_index = w.block_index AND h.farmer_id = w.farmer_id AND h.outcome = 'harvested')
      AND NOT EXISTS (SELECT FROM pooler_compensations c
                      WHERE c.block_index = w.block_index AND c.farmer_id = w.farmer_id)) w
WHERE o.block_index BETWEEN %(first)s AND %(last)s
GROUP BY o.block_index;

-- name: fix_block_terms
-- Fixes what the credits of blocks are reckoned with, for those that have no terms yet.
INSERT INTO block_terms (block_index, platform_fee, miner_fee_part, pplns_blocks, solo_fee)
SELECT block_index, %(platform_fee)s, %(miner_fee_part)s, %(pplns_blocks)s, %(solo_fee)s
FROM (SELECT block_index FROM block_operations UNION SELECT block_index FROM share_counts) seen
WHERE block_index > (SELECT coalesce(max(block_index), -1) - 300 FROM block_terms)
ON CONFLICT DO NOTHING;

-- name: select_block_terms
SELECT block_index, platform_fee, miner_fee_part, pplns_blocks, coalesce(solo_fee, 0) AS solo_fee FROM block_terms
WHERE block_index BETWEEN %(first)s AND %(last)s;

-- name: insert_miner_hashrates
-- One point of every rig's hashrate, for charts: what it was credited over the last minute.
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second)
SELECT now(), recent.searcher, recent.credited::float8 / 60
FROM miners m
CROSS JOIN LATERAL (
    SELECT searcher, sum(credited_hashes) AS credited FROM shares
    WHERE miner_id = m.miner_id AND found_at BETWEEN now() - interval '1 minute' AND now() GROUP BY searcher) recent
-- It is written down now and then that a miner was seen: one that has just registered was not yet.
WHERE greatest(m.last_seen_at, m.created_at) > now() - interval '5 minutes'
ON CONFLICT DO NOTHING;

-- name: select_share_groups
-- Miners' accepted shares since the share of this id, by difficulty and zeros.
SELECT miner_id, credited_hashes AS difficulty, zeros, count(*) AS shares FROM shares
WHERE share_id >= %(since)s AND miner_id IS NOT NULL GROUP BY miner_id, credited_hashes, zeros;

-- name: select_suspected_miners
SELECT miner_id FROM miners WHERE suspicion IS NOT NULL;

-- name: update_suspicions
-- These are suspected now, and nobody else is.
UPDATE miners SET suspicion = now.suspicion
FROM miners m LEFT JOIN unnest(%(miner_ids)s::uuid[], %(suspicions)s::text[]) AS now (miner_id, suspicion) USING (miner_id)
WHERE miners.miner_id = m.miner_id AND miners.suspicion IS DISTINCT FROM now.suspicion;
