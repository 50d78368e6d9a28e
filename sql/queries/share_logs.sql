-- services/mining/share_logs.py: the logs of shares that blocks' credits are reckoned with.

-- name: select_unlogged_blocks
-- Blocks in which nothing is found any more, and of which no log was written: those in the window of a block that is not
-- closed yet. The oldest first.
SELECT DISTINCT o.block_index FROM block_operations o
WHERE o.block_index < (SELECT max(block_index) FROM block_operations) - 3
  AND o.block_index > (SELECT min(u.block_index) FROM block_operations u
                       WHERE NOT EXISTS (SELECT FROM block_closings c WHERE c.block_index = u.block_index))
                      - (SELECT coalesce(max(pplns_blocks), 1) FROM block_terms)
  AND NOT EXISTS (SELECT FROM share_logs l WHERE l.block_index = o.block_index)
ORDER BY o.block_index LIMIT %(limit)s;

-- name: select_share_log_head
-- What a block's log begins with; how many shares of miners there are, and how many there were.
SELECT (SELECT entropy FROM block_operations WHERE block_index = %(block_index)s ORDER BY pooler_id LIMIT 1) AS entropy,
       (SELECT coalesce(sum(hashes), 0) FROM house_hashes WHERE block_index = %(block_index)s) AS house_hashes,
       (SELECT count(*) FROM shares WHERE block_index = %(block_index)s AND miner_id IS NOT NULL) AS shares,
       (SELECT coalesce(sum(shares), 0)::bigint FROM share_counts
        WHERE block_index = %(block_index)s AND outcome IN ('accepted', 'solo')) AS counted;

-- name: select_share_log_lines
-- A page of a log's lines, after a farmer's nonce, as text: thousands of rows would take the process long. With the last
-- farmer and nonce of it.
WITH page AS (
    SELECT s.farmer_id, s.nonce, concat('{"miner":"', s.miner_id, '","farmer":"', f.custodial_wallet, '","nonce":"', s.nonce,
           '","difficulty":"', s.credited_hashes, '","hash":"', encode(s.hash, 'hex'),
           CASE WHEN s.solo THEN E'","solo":true}\n' ELSE E'"}\n' END) AS line
    FROM (SELECT farmer_id, nonce, miner_id, credited_hashes, hash, solo FROM shares
          WHERE block_index = %(block_index)s AND miner_id IS NOT NULL
            AND (%(farmer_id)s::uuid IS NULL OR (farmer_id, nonce) > (%(farmer_id)s::uuid, %(nonce)s::numeric))
          ORDER BY farmer_id, nonce LIMIT %(limit)s) s
    JOIN farmers f USING (farmer_id))
SELECT string_agg(line, '' ORDER BY farmer_id, nonce) AS lines, count(*) AS shares,
       (array_agg(farmer_id ORDER BY farmer_id DESC, nonce DESC))[1] AS farmer_id,
       (array_agg(nonce ORDER BY farmer_id DESC, nonce DESC))[1] AS nonce
FROM page;

-- name: insert_share_log
INSERT INTO share_logs (block_index, sha256, shares) VALUES (%(block_index)s, %(sha256)s, %(shares)s) ON CONFLICT DO NOTHING;

-- name: select_share_logs
-- What is known of the logs of some blocks, the oldest first.
SELECT block_index, encode(sha256, 'hex') AS sha256, shares FROM share_logs
WHERE block_index BETWEEN %(first)s AND %(last)s ORDER BY block_index;

-- name: select_closing
SELECT c.block_index, c.closed_at, c.window_blocks, encode(c.window_hash, 'hex') AS window_hash,
       coalesce(t.miner_fee_part, 1) AS miner_fee_part, coalesce(t.solo_fee, 0) AS solo_fee, c.fees_stroops, c.shared_stroops
FROM block_closings c LEFT JOIN block_terms t USING (block_index) WHERE c.block_index = %(block_index)s;

-- name: select_posted_credits
-- What was posted when a block was closed.
SELECT event, substr(credit, 7) AS miner_id, amount_stroops FROM transfers
WHERE block_index = %(block_index)s AND event IN ('credited', 'kept') ORDER BY number;

-- name: select_harvest_fees
-- A block's harvests, and the pool's part of each: by the farmer's terms, of old ones by those of the block. With the nonce
-- that was worked with, and the transaction that did.
SELECT f.custodial_wallet AS farmer, h.reward_stroops,
       coalesce(CASE WHEN h.fee_stroops IS NULL THEN t.platform_fee WHEN h.solo THEN least(f.fee_rate, t.solo_fee)
                     ELSE f.fee_rate END, 0) AS fee_rate,
       coalesce(e.amount_stroops, 0) AS fee_stroops, encode(h.transaction_hash, 'hex') AS transaction_hash, h.solo,
       w.nonce, encode(w.transaction_hash, 'hex') AS work_transaction_hash
FROM harvests h
JOIN farmers f USING (farmer_id)
LEFT JOIN block_terms t ON t.block_index = h.block_index
LEFT JOIN LATERAL (
    SELECT nonce, transaction_hash FROM works
    WHERE block_index = h.block_index AND farmer_id = h.farmer_id AND outcome = 'worked'
    ORDER BY zeros DESC, event_id DESC LIMIT 1) w ON true
LEFT JOIN transfers e ON e.cause = concat_ws('/', 'fee', h.block_index, h.farmer_id)
WHERE h.block_index = %(block_index)s AND h.outcome = 'harvested'
ORDER BY f.custodial_wallet;

-- name: select_last_closings
-- The blocks that were closed last, the newest first.
SELECT c.block_index, c.closed_at, c.fees_stroops, encode(l.sha256, 'hex') AS sha256, l.shares,
       (SELECT count(*) FROM transfers t WHERE t.block_index = c.block_index AND t.event = 'credited') AS miners,
       (SELECT coalesce(sum(t.amount_stroops), 0) FROM transfers t WHERE t.block_index = c.block_index AND t.event = 'credited')
           AS credited_stroops
FROM block_closings c LEFT JOIN share_logs l USING (block_index)
ORDER BY c.block_index DESC LIMIT %(limit)s;
