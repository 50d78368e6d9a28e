-- services/holdings.py: where a farmer's KALE is.

-- name: select_holdings
-- What a farmer owes by the books, and the blocks in which it may have a pail: those out by the books (`stake_stroops`), those
-- that a plant is on its way for, and the newest of its pooler's with the next two. `forecast_stroops`: a harvest is on its
-- way, and brings that. One statement, so that no entry of the books comes between.
WITH out AS MATERIALIZED (
    SELECT p.block_index, p.stake_stroops
    FROM pails_out(%(farmer_id)s) JOIN plantings p USING (block_index, farmer_id) WHERE p.outcome = 'planted'
), newest AS MATERIALIZED (
    SELECT max(o.block_index) AS block_index FROM block_operations o JOIN farmers f USING (pooler_id)
    WHERE f.farmer_id = %(farmer_id)s
), wanted AS (
    SELECT block_index FROM out
    UNION
    SELECT block_index FROM submission_items WHERE farmer_id = %(farmer_id)s AND status = 'open' AND action = 'plant'
    UNION
    SELECT n.block_index FROM newest, generate_series(newest.block_index, newest.block_index + 2) n (block_index)
    WHERE NOT EXISTS (SELECT FROM pooler_compensations c
                      WHERE c.block_index = n.block_index AND c.farmer_id = %(farmer_id)s)
)
SELECT owed.stroops AS owed_stroops, newest.block_index AS newest_index, w.block_index, out.stake_stroops,
       (SELECT max(i.forecast_stroops) FROM submission_items i
        WHERE i.farmer_id = %(farmer_id)s AND i.status = 'open' AND i.action = 'harvest'
          AND i.block_index = w.block_index) AS forecast_stroops
FROM (SELECT coalesce(sum(balance_stroops), 0) AS stroops FROM book_accounts
      WHERE account IN ('wallet/' || %(farmer_id)s::text, 'pail/' || %(farmer_id)s::text, 'farmer/' || %(farmer_id)s::text,
                        'unexplained/wallet-' || %(farmer_id)s::text)) owed
CROSS JOIN newest
LEFT JOIN wanted w ON true
LEFT JOIN out ON out.block_index = w.block_index
ORDER BY w.block_index;
