-- services/postings.py and services/books/: the double-entry books.

-- name: post_transfers
-- Writes entries in their order; those whose cause is there already are left out.
SELECT post_transfers(%(causes)s::text[], %(events)s::text[], %(debits)s::text[], %(credits)s::text[], %(amounts)s::numeric[],
                      %(blocks)s::bigint[], %(ledgers)s::bigint[], %(hashes)s::bytea[], %(notes)s::text[]) AS written;

-- name: select_wallet_owners
-- Which farmer each of these wallets is kept for.
SELECT custodial_wallet AS wallet, farmer_id FROM farmers WHERE custodial_wallet = ANY(%(wallets)s) AND NOT plants_itself;

-- name: select_own_purposes
-- Which of these addresses are accounts of the pool's own.
SELECT address, purpose FROM accounts WHERE address = ANY(%(addresses)s);

-- name: select_fee_rates
-- The pool's part of rewards, by each farmer's terms.
SELECT farmer_id, coalesce(fee_rate, 0) AS fee_rate FROM farmers WHERE farmer_id = ANY(%(farmer_ids)s);

-- name: select_harvest_terms
-- What is taken of these harvests' rewards, by each farmer's terms; solo_fee where the work was found by a rig of the
-- farmer's own.
SELECT p.block_index, p.farmer_id, coalesce(f.fee_rate, 0) AS fee_rate, CASE WHEN best.solo THEN t.solo_fee END AS solo_fee
FROM unnest(%(block_indexes)s::bigint[], %(farmer_ids)s::uuid[]) AS p (block_index, farmer_id)
JOIN farmers f USING (farmer_id)
LEFT JOIN block_terms t USING (block_index)
LEFT JOIN LATERAL (
    SELECT s.solo FROM works w LEFT JOIN shares s USING (block_index, farmer_id, nonce)
    WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id AND w.outcome = 'worked'
    ORDER BY w.zeros DESC, w.event_id DESC LIMIT 1) best ON true;

-- name: select_fees_owed
-- What these farmers hold that is not their own, nor unexplained.
SELECT f.farmer_id, coalesce(sum(b.balance_stroops), 0) AS owed_stroops
FROM unnest(%(farmer_ids)s::uuid[]) AS f (farmer_id)
JOIN book_accounts b ON b.account IN ('wallet/' || f.farmer_id, 'pail/' || f.farmer_id, 'farmer/' || f.farmer_id,
                                      'unexplained/wallet-' || f.farmer_id)
GROUP BY f.farmer_id;

-- name: select_debtors
-- Active farmers that owe something, the most first, with when they last paid.
SELECT f.farmer_id, sum(b.balance_stroops) AS owed_stroops,
       (SELECT max(t.posted_at) FROM transfers t WHERE t.credit = 'wallet/' || f.farmer_id AND t.event = 'collected') AS paid_at,
       f.activated_at
FROM farmers f
JOIN book_accounts b ON b.account IN ('wallet/' || f.farmer_id, 'pail/' || f.farmer_id, 'farmer/' || f.farmer_id,
                                      'unexplained/wallet-' || f.farmer_id)
WHERE f.status = 'active'
GROUP BY f.farmer_id
HAVING sum(b.balance_stroops) > 0
ORDER BY owed_stroops DESC, f.farmer_id;

-- name: select_book_head
SELECT number, encode(hash, 'hex') AS hash FROM book_head;

-- name: select_kind_totals
-- All accounts of each kind together.
SELECT split_part(account, '/', 1) AS kind, count(*) AS accounts, sum(balance_stroops) AS balance_stroops
FROM book_accounts GROUP BY 1 ORDER BY 1;

-- name: select_balances
-- Accounts by name.
SELECT account, balance_stroops FROM book_accounts WHERE account = ANY(%(accounts)s);

-- name: select_all_balances
SELECT account, balance_stroops FROM book_accounts ORDER BY account;

-- name: select_transfers_after
-- Entries in their order, after a number; of one account unless that is null.
SELECT number, cause, event, debit, credit, amount_stroops, block_index, ledger,
       encode(transaction_hash, 'hex') AS transaction_hash, note, posted_at, encode(hash, 'hex') AS hash
FROM transfers
WHERE number > %(after)s AND (%(account)s::text IS NULL OR debit = %(account)s OR credit = %(account)s)
ORDER BY number LIMIT %(limit)s;

-- name: sum_transfers
-- What each account has by its entries, which its balance must be.
SELECT account, sum(stroops) AS balance_stroops
FROM (SELECT debit AS account, amount_stroops AS stroops FROM transfers
      UNION ALL SELECT credit, -amount_stroops FROM transfers) moved
GROUP BY account;

-- name: select_uneven_blocks
-- Closed blocks whose credits are not the fees of their harvests.
SELECT block_index, coalesce(sum(amount_stroops) FILTER (WHERE event = 'fee'), 0) AS fees_stroops,
       coalesce(sum(amount_stroops) FILTER (WHERE event <> 'fee'), 0) AS credited_stroops
FROM transfers WHERE event IN ('fee', 'credited', 'kept')
GROUP BY block_index
HAVING bool_or(event <> 'fee')
   AND sum(amount_stroops) FILTER (WHERE event = 'fee') IS DISTINCT FROM sum(amount_stroops) FILTER (WHERE event <> 'fee');

------------------------------------------------------------------------------------------------------------------------
-- The treasury, and lost stakes that are paid from it

-- name: select_treasury
-- What it has; what of it is on its way to miners (what is put down for them has left it), what they are due, what farmers
-- owe; the operator's part, and what of that is on its way to farmers.
SELECT coalesce((SELECT balance_stroops FROM book_accounts WHERE account = 'treasury'), 0) AS treasury_stroops,
       coalesce((SELECT -sum(balance_stroops) FROM book_accounts
                 WHERE split_part(account, '/', 1) IN ('paying', 'claimable')), 0) AS paying_stroops,
       coalesce((SELECT -sum(balance_stroops) FROM book_accounts WHERE starts_with(account, 'miner/')), 0) AS due_stroops,
       coalesce((SELECT sum(balance_stroops) FROM book_accounts
                 WHERE split_part(account, '/', 1) IN ('wallet', 'pail', 'farmer') OR starts_with(account, 'unexplained/wallet-')), 0)
           AS owed_stroops,
       coalesce((SELECT -balance_stroops FROM book_accounts WHERE account = 'operator'), 0) AS operator_stroops,
       coalesce((SELECT sum(amount_stroops) FROM submission_items WHERE action = 'compensate' AND status = 'open'), 0)
           AS compensating_stroops;

-- name: select_owed_stakes
-- What is owed for lost stakes, and neither paid nor on its way, the oldest first.
SELECT c.compensation_id, c.block_index, c.farmer_id, f.custodial_wallet AS wallet, f.status AS farmer_status,
       c.stake_stroops + c.forecast_stroops AS owed_stroops, c.fault, c.approved_at IS NOT NULL AS is_approved, c.wait_code,
       c.wait_message
FROM pooler_compensations c JOIN farmers f USING (farmer_id)
WHERE c.standing = 'owed' AND c.paid_at IS NULL AND c.stake_stroops + c.forecast_stroops > 0
  AND NOT EXISTS (SELECT FROM submission_items i WHERE i.action = 'compensate' AND i.block_index = c.block_index
                  AND i.farmer_id = c.farmer_id AND i.status IN ('open', 'applied'))
ORDER BY c.created_at, c.compensation_id;

-- name: note_compensation_waits
UPDATE pooler_compensations SET wait_code = %(code)s, wait_message = %(message)s WHERE compensation_id = %(compensation_id)s;

------------------------------------------------------------------------------------------------------------------------
-- Held against the chain

-- name: select_wallets_to_check
-- Everything of ours that holds KALE, with its books: what they have, since which ledger they were the same, and whether
-- something of it has no outcome yet.
SELECT 'wallet/' || f.farmer_id AS account, f.custodial_wallet AS address, coalesce(b.balance_stroops, 0) AS balance_stroops,
       c.equal_ledger, coalesce(c.opening, false) AS opening, coalesce(c.difference_stroops, 0) AS difference_stroops,
       c.differs_since, b.account IS NOT NULL AS posted,
       EXISTS (SELECT FROM submission_items i WHERE i.farmer_id = f.farmer_id AND i.status = 'open') AS in_flight
FROM farmers f
LEFT JOIN book_accounts b ON b.account = 'wallet/' || f.farmer_id
LEFT JOIN book_checks c ON c.account = 'wallet/' || f.farmer_id
WHERE NOT f.plants_itself AND (f.status <> 'departed' OR coalesce(b.balance_stroops, 0) <> 0)
UNION ALL
SELECT 'treasury', a.address, coalesce(b.balance_stroops, 0), c.equal_ledger, coalesce(c.opening, false),
       coalesce(c.difference_stroops, 0), c.differs_since, b.account IS NOT NULL,
       EXISTS (SELECT FROM submissions s WHERE s.status = 'open'
               AND (s.source_account = a.address OR s.action IN ('payment', 'merge', 'collect', 'payout')))
FROM accounts a
LEFT JOIN book_accounts b ON b.account = 'treasury'
LEFT JOIN book_checks c ON c.account = 'treasury'
WHERE a.purpose = 'treasury';

-- name: note_book_check
-- What was found. Since when it differs stays as long as it does.
INSERT INTO book_checks (account, equal_ledger, difference_stroops, differs_since, looked_ledger, looked_at)
VALUES (%(account)s, CASE WHEN %(difference_stroops)s::numeric = 0 THEN %(ledger)s::bigint END, %(difference_stroops)s,
        CASE WHEN %(difference_stroops)s::numeric <> 0 THEN now() END, %(ledger)s, now())
ON CONFLICT (account) DO UPDATE SET
    equal_ledger = coalesce(excluded.equal_ledger, book_checks.equal_ledger),
    opening = book_checks.opening AND excluded.difference_stroops <> 0,
    difference_stroops = excluded.difference_stroops,
    differs_since = CASE WHEN excluded.difference_stroops <> 0 THEN coalesce(book_checks.differs_since, now()) END,
    looked_ledger = excluded.looked_ledger, looked_at = excluded.looked_at;

-- name: select_book_differences
-- What differs from the chain, or was not understood.
SELECT c.account, c.difference_stroops, c.differs_since, c.looked_ledger FROM book_checks c
WHERE c.difference_stroops <> 0 ORDER BY c.account;

-- name: select_unexplained
SELECT account, balance_stroops FROM book_accounts WHERE starts_with(account, 'unexplained/') AND balance_stroops <> 0 ORDER BY account;

-- name: select_last_book_check
SELECT max(looked_ledger) AS ledger, max(looked_at) AS at, count(*) AS accounts FROM book_checks;

-- name: select_known_hashes
-- Which of these transactions the journal has.
SELECT transaction_hash FROM submissions WHERE transaction_hash = ANY(%(transaction_hashes)s);

-- name: select_known_causes
-- Which of these entries are there.
SELECT cause FROM transfers WHERE cause = ANY(%(causes)s);

------------------------------------------------------------------------------------------------------------------------
-- By operators

-- name: select_book_account
SELECT account, balance_stroops FROM book_accounts WHERE account = %(account)s;

------------------------------------------------------------------------------------------------------------------------
-- services/books/results.py: what blocks and days cost and brought

-- name: select_block_results
-- Of blocks below `before` and not below `oldest` that the pool did something in, the newest first.
SELECT b.block_index, p.price_xlm::float8 AS price_xlm, r.*
FROM (SELECT DISTINCT block_index FROM submission_items
      WHERE block_index < %(before)s AND block_index >= %(oldest)s ORDER BY block_index DESC LIMIT %(limit)s) b
LEFT JOIN LATERAL (SELECT price_xlm FROM block_prices WHERE block_index = b.block_index LIMIT 1) p ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(fee_stroops) FILTER (WHERE action = 'plant'), 0) AS plant_fee_stroops,
           coalesce(sum(fee_stroops) FILTER (WHERE action = 'work'), 0) AS work_fee_stroops,
           coalesce(sum(fee_stroops) FILTER (WHERE action = 'harvest'), 0) AS harvest_fee_stroops,
           coalesce(sum(fee_stroops) FILTER (WHERE action NOT IN ('plant', 'work', 'harvest')), 0) AS other_fee_stroops,
           coalesce(sum(won_stroops), 0) AS won_stroops, coalesce(sum(lost_stroops), 0) AS lost_stroops,
           coalesce(round(sum((won_stroops - lost_stroops) * p.price_xlm)), 0) AS worth_stroops,
           CASE WHEN p.price_xlm IS NULL THEN coalesce(sum(won_stroops + lost_stroops), 0) ELSE 0 END AS unpriced_stroops
    FROM money_events WHERE block_index = b.block_index) r
ORDER BY b.block_index DESC;

-- name: select_day_results
-- Of days, each from its first id to that of the next: what was sent, harvested and found lost on them. What is settled is
-- added up already (services/settling.py); the rest is read.
SELECT d.day,
       coalesce(y.plant_fee_stroops, 0) + r.plant_fee_stroops AS plant_fee_stroops,
       coalesce(y.work_fee_stroops, 0) + r.work_fee_stroops AS work_fee_stroops,
       coalesce(y.harvest_fee_stroops, 0) + r.harvest_fee_stroops AS harvest_fee_stroops,
       coalesce(y.other_fee_stroops, 0) + r.other_fee_stroops AS other_fee_stroops,
       coalesce(y.won_stroops, 0) + r.won_stroops AS won_stroops, l.lost_stroops,
       round(coalesce(y.worth_stroops, 0) + r.worth_stroops - l.worth_stroops) AS worth_stroops,
       coalesce(y.unpriced_stroops, 0) + r.unpriced_stroops + l.unpriced_stroops AS unpriced_stroops
FROM settled s CROSS JOIN unnest(%(days)s::date[], %(firsts)s::uuid[], %(ends)s::uuid[]) AS d (day, first, until)
LEFT JOIN day_sums y USING (day)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(fee_stroops) FILTER (WHERE action = 'plant'), 0) AS plant_fee_stroops,
           coalesce(sum(fee_stroops) FILTER (WHERE action = 'work'), 0) AS work_fee_stroops,
           coalesce(sum(fee_stroops) FILTER (WHERE action = 'harvest'), 0) AS harvest_fee_stroops,
           coalesce(sum(fee_stroops) FILTER (WHERE action NOT IN ('plant', 'work', 'harvest')), 0) AS other_fee_stroops,
           coalesce(sum(won_stroops), 0) AS won_stroops, coalesce(sum(won_stroops * p.price_xlm), 0) AS worth_stroops,
           coalesce(sum(won_stroops) FILTER (WHERE p.price_xlm IS NULL), 0) AS unpriced_stroops
    FROM settling_money m
    LEFT JOIN LATERAL (SELECT price_xlm FROM block_prices WHERE block_index = m.block_index LIMIT 1) p ON true
    WHERE event_id >= greatest(d.first, s.until_id) AND event_id < d.until) r
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.stake_stroops), 0) AS lost_stroops, coalesce(sum(c.stake_stroops * p.price_xlm), 0) AS worth_stroops,
           coalesce(sum(c.stake_stroops) FILTER (WHERE p.price_xlm IS NULL), 0) AS unpriced_stroops
    FROM pooler_compensations c
    LEFT JOIN LATERAL (SELECT price_xlm FROM block_prices WHERE block_index = c.block_index LIMIT 1) p ON true
    WHERE c.standing = 'owed' AND c.compensation_id >= d.first AND c.compensation_id < d.until) l
ORDER BY d.day DESC;

-- name: select_first_submission
-- The id of the oldest transaction.
SELECT submission_id FROM submissions ORDER BY submission_id LIMIT 1;

-- name: select_newest_harvested
SELECT block_index FROM harvests WHERE outcome = 'harvested' ORDER BY block_index DESC LIMIT 1;
