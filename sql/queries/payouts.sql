-- services/mining/: a block's credits are posted, and miners are paid.

-- name: select_unclosed_blocks
-- Blocks that are over since three blocks and more, and not closed: the oldest first.
SELECT DISTINCT o.block_index FROM block_operations o
WHERE o.block_index < (SELECT max(block_index) FROM block_operations) - 3
  AND NOT EXISTS (SELECT FROM block_closings c WHERE c.block_index = o.block_index)
ORDER BY o.block_index LIMIT %(limit)s;

-- name: select_posted_fees
-- The fees of a block's harvests, by the books.
SELECT coalesce(sum(amount_stroops), 0) AS fees_stroops FROM transfers WHERE block_index = %(block_index)s AND event = 'fee';

-- name: insert_block_closing
INSERT INTO block_closings (block_index, fees_stroops, shared_stroops, window_blocks, window_hash)
VALUES (%(block_index)s, %(fees_stroops)s, %(shared_stroops)s, %(window_blocks)s, %(window_hash)s)
ON CONFLICT DO NOTHING;

------------------------------------------------------------------------------------------------------------------------
-- Payouts

-- name: take_next_wallets
-- Wallets that were said long enough ago count from now on.
UPDATE miners SET payout_wallet = next_wallet, payout_memo = next_memo, next_wallet = NULL, next_memo = NULL,
                  next_wallet_at = NULL, payout_retry_at = NULL
WHERE next_wallet_at <= now();

-- name: select_dues
-- What each miner is due that has no payout under way, the oldest first, with when the oldest of it was earned.
SELECT m.miner_id, -b.balance_stroops AS due_stroops, m.payout_wallet, m.payout_memo, m.payout_threshold_stroops,
       earned.posted_at AS since
FROM book_accounts b
JOIN miners m ON b.account = 'miner/' || m.miner_id
LEFT JOIN LATERAL (
    SELECT t.posted_at FROM transfers t
    WHERE t.credit = b.account AND t.number > coalesce((SELECT max(c.number) FROM transfers c WHERE c.debit = b.account), 0)
    ORDER BY t.number LIMIT 1) earned ON true
WHERE b.balance_stroops < 0 AND (m.payout_retry_at IS NULL OR m.payout_retry_at <= now())
  AND (%(miner_id)s::uuid IS NULL OR m.miner_id = %(miner_id)s)
  AND NOT EXISTS (SELECT FROM payouts p WHERE p.miner_id = m.miner_id AND p.closed_at IS NULL)
ORDER BY earned.posted_at NULLS FIRST, m.miner_id;

-- name: select_treasury
-- What the treasury has, what of it is on its way to miners, what they are due, and what farmers owe.
SELECT coalesce((SELECT balance_stroops FROM book_accounts WHERE account = 'treasury'), 0) AS treasury_stroops,
       coalesce((SELECT -sum(balance_stroops) FROM book_accounts WHERE starts_with(account, 'paying/')), 0) AS paying_stroops,
       coalesce((SELECT -sum(balance_stroops) FROM book_accounts WHERE starts_with(account, 'miner/')), 0) AS due_stroops,
       coalesce((SELECT sum(balance_stroops) FROM book_accounts
                 WHERE split_part(account, '/', 1) IN ('wallet', 'pail', 'farmer')), 0) AS owed_stroops;

-- name: insert_payout
INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, memo, reason, idempotency_key)
VALUES (%(payout_id)s, %(miner_id)s, %(amount_stroops)s, %(destination)s, %(memo)s, %(reason)s, %(idempotency_key)s);

-- name: select_payouts_to_send
-- Payouts that were begun, with no transaction on its way or applied, the oldest first.
SELECT p.payout_id, p.miner_id, p.amount_stroops, p.destination, p.memo FROM payouts p
WHERE p.closed_at IS NULL
  AND NOT EXISTS (SELECT FROM submission_items i WHERE i.payout_id = p.payout_id AND i.status IN ('open', 'applied'))
ORDER BY p.payout_id;

-- name: close_paid_payouts
UPDATE payouts p SET closed_at = now()
WHERE p.closed_at IS NULL AND EXISTS (SELECT FROM submission_items i WHERE i.payout_id = p.payout_id AND i.status = 'applied');

-- name: give_payout_up
-- Unless a transaction of it is on its way or applied.
UPDATE payouts p SET closed_at = now(), code = %(code)s, message = %(message)s
WHERE payout_id = %(payout_id)s AND closed_at IS NULL
  AND NOT EXISTS (SELECT FROM submission_items i WHERE i.payout_id = p.payout_id AND i.status IN ('open', 'applied'));

-- name: note_payee
-- Why a miner is not paid now, and when it is looked at again; nothing of it any more where code is null.
UPDATE miners SET payout_code = %(code)s, payout_message = %(message)s,
                  payout_retry_at = CASE WHEN %(code)s::text IS NULL THEN NULL
                                         ELSE now() + make_interval(secs => %(retry_seconds)s::float) END
WHERE miner_id = %(miner_id)s;

-- name: select_payout
-- By its id, or by the miner's idempotency key.
SELECT p.payout_id, p.miner_id, p.amount_stroops, p.destination, p.memo, p.reason, p.created_at,
       CASE WHEN i.status = 'applied' THEN 'paid' WHEN p.code IS NOT NULL THEN 'failed' ELSE 'open' END AS status,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger, p.code, p.message
FROM payouts p
LEFT JOIN submission_items i ON i.payout_id = p.payout_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id)
WHERE p.payout_id = %(payout_id)s OR (p.miner_id = %(miner_id)s AND p.idempotency_key = %(idempotency_key)s);

-- name: select_payouts
-- A page of a miner's payouts, the newest first.
SELECT p.payout_id, p.miner_id, p.amount_stroops, p.destination, p.memo, p.reason, p.created_at,
       CASE WHEN i.status = 'applied' THEN 'paid' WHEN p.code IS NOT NULL THEN 'failed' ELSE 'open' END AS status,
       encode(s.transaction_hash, 'hex') AS transaction_hash, s.ledger, p.code, p.message
FROM payouts p
LEFT JOIN submission_items i ON i.payout_id = p.payout_id AND i.status IN ('open', 'applied')
LEFT JOIN submissions s USING (submission_id)
WHERE p.miner_id = %(miner_id)s AND (%(after)s::uuid IS NULL OR p.payout_id < %(after)s)
ORDER BY p.payout_id DESC
LIMIT %(limit)s;

-- name: select_stuck_payouts
-- Payouts that were begun this long ago and are neither paid nor given up.
SELECT count(*) AS payouts FROM payouts
WHERE closed_at IS NULL AND created_at < now() - make_interval(secs => %(seconds)s::float);

-- name: select_miner_balance
-- How a miner stands: what it earned in all, what is due, on its way, and paid.
SELECT m.miner_id, m.payout_wallet, m.payout_memo, m.payout_threshold_stroops, m.next_wallet, m.next_wallet_at,
       m.payout_code, m.payout_message,
       coalesce((SELECT sum(amount_stroops) FROM transfers WHERE credit = 'miner/' || m.miner_id AND event = 'credited'), 0)
           AS earned_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'miner/' || m.miner_id), 0) AS due_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'paying/' || m.miner_id), 0) AS paying_stroops,
       coalesce((SELECT sum(amount_stroops) FROM transfers
                 WHERE debit IN ('miner/' || m.miner_id, 'paying/' || m.miner_id) AND event = 'paid'), 0) AS paid_stroops
FROM miners m WHERE m.miner_id = %(miner_id)s;

-- name: select_miner_statement
-- Every entry of a miner's, in their order, after a number.
SELECT number, posted_at, event, block_index,
       CASE WHEN credit IN ('miner/' || %(miner_id)s, 'paying/' || %(miner_id)s) AND event <> 'claimed' THEN amount_stroops
            ELSE -amount_stroops END AS amount_stroops,
       encode(transaction_hash, 'hex') AS transaction_hash, ledger, note
FROM transfers
WHERE number > %(after)s AND (debit IN ('miner/' || %(miner_id)s, 'paying/' || %(miner_id)s) OR credit = 'miner/' || %(miner_id)s)
ORDER BY number LIMIT %(limit)s;

-- name: update_miner_payouts
-- Changes what is given; a wallet at once, or from a time on.
UPDATE miners SET
    payout_threshold_stroops = CASE WHEN %(set_threshold)s::boolean THEN %(threshold_stroops)s ELSE payout_threshold_stroops END,
    payout_wallet = CASE WHEN %(at_once)s::boolean THEN %(wallet)s ELSE payout_wallet END,
    payout_memo = CASE WHEN %(at_once)s::boolean THEN %(memo)s ELSE payout_memo END,
    next_wallet = CASE WHEN %(wallet)s::text IS NULL THEN next_wallet WHEN %(at_once)s::boolean THEN NULL ELSE %(wallet)s END,
    next_memo = CASE WHEN %(wallet)s::text IS NULL THEN next_memo WHEN %(at_once)s::boolean THEN NULL ELSE %(memo)s END,
    next_wallet_at = CASE WHEN %(wallet)s::text IS NULL THEN next_wallet_at WHEN %(at_once)s::boolean THEN NULL
                          ELSE now() + make_interval(secs => %(wait_seconds)s::float) END,
    payout_retry_at = CASE WHEN %(at_once)s::boolean THEN NULL ELSE payout_retry_at END
WHERE miner_id = %(miner_id)s;
