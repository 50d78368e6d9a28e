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

-- name: select_dues
-- What each miner is due that has no payout under way, the oldest first, with when the oldest of it was earned, and where it
-- goes; or what this one is due.
SELECT m.miner_id, -b.balance_stroops AS due_stroops, m.payout_wallet, m.payout_memo, m.payout_threshold_stroops,
       earned.posted_at AS since, m.claimable,
       EXISTS (SELECT FROM claimable_balances c JOIN payouts p USING (payout_id)
               WHERE p.miner_id = m.miner_id AND c.claimed_at IS NULL AND c.taken_at IS NULL) AS lying,
       m.next_wallet, m.next_memo, m.next_wallet_at, m.payout_seal
FROM book_accounts b
JOIN miners m ON b.account = 'miner/' || m.miner_id
LEFT JOIN LATERAL (
    SELECT t.posted_at FROM transfers t
    WHERE t.credit = b.account AND t.number > coalesce((SELECT max(c.number) FROM transfers c WHERE c.debit = b.account), 0)
    ORDER BY t.number LIMIT 1) earned ON true
WHERE b.balance_stroops < 0
  AND CASE WHEN %(miner_id)s::uuid IS NULL
           THEN (m.payout_retry_at IS NULL OR m.payout_retry_at <= now())
                AND NOT EXISTS (SELECT FROM payouts p WHERE p.miner_id = m.miner_id AND p.closed_at IS NULL)
           ELSE m.miner_id = %(miner_id)s END
ORDER BY earned.posted_at NULLS FIRST, m.miner_id;

-- name: insert_payout
INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, memo, reason, idempotency_key, claimable_until)
VALUES (%(payout_id)s, %(miner_id)s, %(amount_stroops)s, %(destination)s, %(memo)s, %(reason)s, %(idempotency_key)s, %(until)s);

-- name: select_payouts_to_send
-- Payouts that were begun, with no transaction on its way or applied, the oldest first; and their miners' wallets. One that
-- was not claimed in the books is none.
SELECT p.payout_id, p.miner_id, p.amount_stroops, p.destination, p.memo, p.claimable_until AS until, m.payout_wallet,
       m.payout_memo, m.next_wallet, m.next_memo, m.next_wallet_at, m.payout_seal
FROM payouts p JOIN miners m USING (miner_id)
JOIN transfers t ON t.cause = 'claim/' || p.payout_id AND t.debit = 'miner/' || p.miner_id AND t.amount_stroops = p.amount_stroops
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
SELECT payout_id, miner_id, amount_stroops, destination, memo, reason, created_at, status, transaction_hash, ledger, code, message,
       balance_id, claimable_until
FROM payout_states
WHERE payout_id = %(payout_id)s OR (miner_id = %(miner_id)s AND idempotency_key = %(idempotency_key)s);

-- name: select_payouts
-- A page of a miner's payouts, the newest first.
SELECT payout_id, miner_id, amount_stroops, destination, memo, reason, created_at, status, transaction_hash, ledger, code, message,
       balance_id, claimable_until
FROM payout_states
WHERE miner_id = %(miner_id)s AND (%(after)s::uuid IS NULL OR payout_id < %(after)s)
ORDER BY payout_id DESC
LIMIT %(limit)s;

-- name: select_stuck_payouts
-- Payouts that were begun this long ago and are neither paid nor given up.
SELECT count(*) AS payouts FROM payouts
WHERE closed_at IS NULL AND created_at < now() - make_interval(secs => %(seconds)s::float);

-- name: select_miner_balance
-- How a miner stands: what it earned in all, what is due, on its way, put down for it to claim, and paid.
SELECT m.miner_id, m.payout_wallet, m.payout_memo, m.payout_threshold_stroops, m.next_wallet, m.next_wallet_at,
       m.payout_code, m.payout_message, m.claimable,
       (SELECT credit_stroops FROM account_moves('miner/' || m.miner_id, 'credited'))
           AS earned_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'miner/' || m.miner_id), 0) AS due_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'paying/' || m.miner_id), 0) - lying.stroops
           AS paying_stroops,
       lying.stroops AS claimable_stroops,
       coalesce((SELECT sum(amount_stroops) FROM transfers
                 WHERE debit IN ('miner/' || m.miner_id, 'paying/' || m.miner_id) AND event = 'paid'), 0) AS paid_stroops
FROM miners m
CROSS JOIN LATERAL (
    SELECT coalesce(sum(p.amount_stroops), 0) AS stroops FROM claimable_balances c JOIN payouts p USING (payout_id)
    WHERE p.miner_id = m.miner_id AND c.claimed_at IS NULL AND c.taken_at IS NULL) lying
WHERE m.miner_id = %(miner_id)s;

-- name: select_miner_statement
-- Every entry of a miner's, in their order, after a number: how it changed what is due, and what it paid. All changes
-- together are what is due, all payments together what was paid.
SELECT number, posted_at, event, block_index,
       CASE WHEN credit = 'miner/' || %(miner_id)s THEN amount_stroops
            WHEN debit = 'miner/' || %(miner_id)s THEN -amount_stroops ELSE 0 END AS amount_stroops,
       CASE WHEN event = 'paid' THEN amount_stroops ELSE 0 END AS paid_stroops,
       encode(transaction_hash, 'hex') AS transaction_hash, ledger, note
FROM transfers
WHERE number > %(after)s AND (debit IN ('miner/' || %(miner_id)s, 'paying/' || %(miner_id)s) OR credit = 'miner/' || %(miner_id)s)
ORDER BY number LIMIT %(limit)s;

-- name: select_shared_lately
-- What the blocks closed within the last day gave to all who hash, the house too, and what was hashed in them.
SELECT coalesce(sum(c.shared_stroops), 0) AS stroops, coalesce(sum(h.hashes), 0) AS hashes
FROM (SELECT block_index, shared_stroops, closed_at FROM block_closings ORDER BY block_index DESC LIMIT 2000) c
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT sum(credited_hashes) FROM share_counts s
                     WHERE s.block_index = c.block_index AND s.outcome = 'accepted'), 0)
           + coalesce((SELECT hashes FROM house_hashes o WHERE o.block_index = c.block_index), 0) AS hashes) h
WHERE c.closed_at > now() - interval '1 day';

-- name: select_miner_earnings
-- What a miner was credited with for its newest blocks.
SELECT block_index, amount_stroops FROM transfers
WHERE credit = 'miner/' || %(miner_id)s AND event = 'credited'
ORDER BY number DESC LIMIT %(limit)s;

-- name: update_payout_terms
-- Changes what is not null. Who may be paid otherwise from now on is looked at again.
UPDATE miners SET payout_threshold_stroops = coalesce(%(threshold_stroops)s, payout_threshold_stroops),
                  claimable = coalesce(%(claimable)s, claimable),
                  payout_retry_at = CASE WHEN %(claimable)s::boolean THEN NULL ELSE payout_retry_at END
WHERE miner_id = %(miner_id)s;

------------------------------------------------------------------------------------------------------------------------
-- Wallets

-- name: select_next_wallets
-- Miners whose next wallet was said long enough ago.
SELECT miner_id FROM miners WHERE next_wallet_at <= now() ORDER BY miner_id;

-- name: select_miners_paid_to
SELECT miner_id, payout_wallet, payout_memo, next_wallet, next_memo, next_wallet_at, payout_seal FROM miners
WHERE payout_wallet = %(wallet)s AND payout_memo IS NULL ORDER BY miner_id;

-- name: lock_miner_wallets
-- Nobody else changes them within the transaction.
SELECT miner_id, payout_wallet, payout_memo, next_wallet, next_memo, next_wallet_at, payout_seal FROM miners
WHERE miner_id = %(miner_id)s FOR UPDATE;

-- name: update_miner_wallets
UPDATE miners SET payout_wallet = %(payout_wallet)s, payout_memo = %(payout_memo)s, next_wallet = %(next_wallet)s,
                  next_memo = %(next_memo)s, next_wallet_at = %(next_wallet_at)s, payout_seal = %(payout_seal)s,
                  payout_retry_at = NULL
WHERE miner_id = %(miner_id)s;

------------------------------------------------------------------------------------------------------------------------
-- What is put down to be claimed

-- name: select_lying
-- What is not known to be gone, the oldest first.
SELECT c.balance_id, c.payout_id, p.miner_id, p.amount_stroops, p.claimable_until AS until, c.made_ledger,
       EXISTS (SELECT FROM submission_items i WHERE i.balance_id = c.balance_id AND i.status IN ('open', 'applied')) AS in_flight
FROM claimable_balances c JOIN payouts p USING (payout_id)
WHERE c.claimed_at IS NULL AND c.taken_at IS NULL ORDER BY p.payout_id;

-- name: note_claimed
UPDATE claimable_balances SET claimed_at = now() WHERE balance_id = %(balance_id)s AND claimed_at IS NULL AND taken_at IS NULL;
