-- What blocks and days cost and brought.

CREATE INDEX submission_items_block ON submission_items (block_index) WHERE block_index IS NOT NULL;

-- Everything that was spent, won or lost, a row each. A transaction's fee is split evenly over what it does, the stroops left
-- over to the first parts of it. fee_stroops: XLM, by action, failed tries too. won_stroops and lost_stroops: KALE, rewards and
-- stakes. block_index: NULL where it is for no block. event_id: in the order of time.
CREATE VIEW money_events AS
SELECT s.submission_id AS event_id, i.block_index, s.action,
       CASE WHEN i.submission_id IS NULL THEN s.fee_stroops
            ELSE div(s.fee_stroops, n.items) + (i.item_number < mod(s.fee_stroops, n.items))::integer END AS fee_stroops,
       0::numeric AS won_stroops, 0::numeric AS lost_stroops
FROM submissions s
LEFT JOIN submission_items i USING (submission_id)
CROSS JOIN LATERAL (SELECT count(*) AS items FROM submission_items WHERE submission_id = s.submission_id) n
WHERE s.fee_stroops IS NOT NULL
UNION ALL
SELECT event_id, block_index, 'harvest', 0, reward_stroops, 0 FROM harvests WHERE outcome = 'harvested'
UNION ALL
SELECT compensation_id, block_index, 'work', 0, 0, stake_stroops FROM pooler_compensations WHERE standing = 'owed';

-- What a KALE was taken to be worth in a block, in XLM. NULL, or no row: nobody knew.
CREATE VIEW block_prices AS
SELECT block_index, round(avg(price_xlm)::numeric, 12) AS price_xlm FROM block_plans GROUP BY block_index;
