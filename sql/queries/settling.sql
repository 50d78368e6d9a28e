-- services/settling.py: what does not change any more is added up, a step at a time, each one transaction.

-- name: lock_settled
-- Where the sums stand. Whoever else adds up waits.
SELECT until_id, until_number, until_block FROM settled FOR UPDATE;

-- name: select_next_unsettled
-- The oldest event or transaction at or after an id: where the next step begins.
SELECT least((SELECT event_id FROM plantings WHERE event_id >= %(since)s ORDER BY event_id LIMIT 1),
             (SELECT event_id FROM works WHERE event_id >= %(since)s ORDER BY event_id LIMIT 1),
             (SELECT event_id FROM harvests WHERE event_id >= %(since)s ORDER BY event_id LIMIT 1),
             (SELECT submission_id FROM submissions WHERE submission_id >= %(since)s ORDER BY submission_id LIMIT 1)) AS event_id;

-- name: select_first_open_submission
SELECT submission_id FROM submissions WHERE status = 'open' ORDER BY submission_id LIMIT 1;

-- name: settle_farmers
INSERT INTO farmer_sums AS s
SELECT farmer_id, sum(blocks_planted), sum(plants_failed), sum(staked_stroops), sum(blocks_worked), sum(works_failed),
       max(best_zeros), sum(blocks_harvested), sum(harvests_failed), sum(rewarded_stroops), sum(forecast_stroops),
       sum(forecast_known_stroops), sum(network_fee_stroops)
FROM farmer_events WHERE event_id >= %(first)s AND event_id < %(end)s GROUP BY farmer_id
ON CONFLICT (farmer_id) DO UPDATE SET
    blocks_planted = s.blocks_planted + excluded.blocks_planted, plants_failed = s.plants_failed + excluded.plants_failed,
    staked_stroops = s.staked_stroops + excluded.staked_stroops, blocks_worked = s.blocks_worked + excluded.blocks_worked,
    works_failed = s.works_failed + excluded.works_failed, best_zeros = greatest(s.best_zeros, excluded.best_zeros),
    blocks_harvested = s.blocks_harvested + excluded.blocks_harvested,
    harvests_failed = s.harvests_failed + excluded.harvests_failed,
    rewarded_stroops = s.rewarded_stroops + excluded.rewarded_stroops,
    forecast_stroops = s.forecast_stroops + excluded.forecast_stroops,
    forecast_known_stroops = s.forecast_known_stroops + excluded.forecast_known_stroops,
    network_fee_stroops = s.network_fee_stroops + excluded.network_fee_stroops;

-- name: settle_day
INSERT INTO day_sums AS s
SELECT %(day)s,
       coalesce(sum(fee_stroops) FILTER (WHERE action = 'plant'), 0), coalesce(sum(fee_stroops) FILTER (WHERE action = 'work'), 0),
       coalesce(sum(fee_stroops) FILTER (WHERE action = 'harvest'), 0),
       coalesce(sum(fee_stroops) FILTER (WHERE action NOT IN ('plant', 'work', 'harvest')), 0),
       coalesce(sum(won_stroops), 0), coalesce(sum(won_stroops * p.price_xlm), 0),
       coalesce(sum(won_stroops) FILTER (WHERE p.price_xlm IS NULL), 0)
FROM settling_money LEFT JOIN block_prices p USING (block_index)
WHERE event_id >= %(first)s AND event_id < %(end)s
ON CONFLICT (day) DO UPDATE SET
    plant_fee_stroops = s.plant_fee_stroops + excluded.plant_fee_stroops,
    work_fee_stroops = s.work_fee_stroops + excluded.work_fee_stroops,
    harvest_fee_stroops = s.harvest_fee_stroops + excluded.harvest_fee_stroops,
    other_fee_stroops = s.other_fee_stroops + excluded.other_fee_stroops, won_stroops = s.won_stroops + excluded.won_stroops,
    worth_stroops = s.worth_stroops + excluded.worth_stroops, unpriced_stroops = s.unpriced_stroops + excluded.unpriced_stroops;

-- name: close_settled_pails
-- Pails that were harvested or given up as lost since.
DELETE FROM open_pails o
WHERE EXISTS (SELECT FROM harvests h WHERE h.block_index = o.block_index AND h.farmer_id = o.farmer_id AND h.outcome = 'harvested')
   OR EXISTS (SELECT FROM pooler_compensations c WHERE c.block_index = o.block_index AND c.farmer_id = o.farmer_id);

-- name: keep_open_pails
INSERT INTO open_pails
SELECT p.block_index, p.farmer_id FROM plantings p
WHERE p.event_id >= %(first)s AND p.event_id < %(end)s AND p.outcome = 'planted'
  AND NOT EXISTS (SELECT FROM harvests h
                  WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested')
  AND NOT EXISTS (SELECT FROM pooler_compensations c WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id)
ON CONFLICT DO NOTHING;

-- name: add_pool_sum
INSERT INTO pool_sums AS s (labels, amount) VALUES (%(labels)s, %(amount)s)
ON CONFLICT (labels) DO UPDATE SET amount = s.amount + excluded.amount;

-- name: note_settled_events
UPDATE settled SET until_id = %(until)s;

-- name: select_entries_to_settle
-- The number up to which a step goes: so many entries of the books.
SELECT max(number) AS number FROM (
    SELECT number FROM transfers WHERE number > %(after)s ORDER BY number LIMIT %(batch)s) next;

-- name: settle_accounts
INSERT INTO account_sums AS s
SELECT account, event, sum(debit), sum(credit)
FROM (SELECT debit AS account, event, amount_stroops AS debit, 0 AS credit FROM transfers
      WHERE number > %(after)s AND number <= %(until)s
      UNION ALL
      SELECT credit, event, 0, amount_stroops FROM transfers WHERE number > %(after)s AND number <= %(until)s) moved
GROUP BY account, event
ON CONFLICT (account, event) DO UPDATE SET
    debit_stroops = s.debit_stroops + excluded.debit_stroops, credit_stroops = s.credit_stroops + excluded.credit_stroops;

-- name: note_settled_entries
UPDATE settled SET until_number = %(until)s;

-- name: select_last_settling_block
-- Shares come for the newest blocks only.
SELECT coalesce(max(block_index), 0) - %(blocks)s AS block_index FROM block_operations;

-- name: sum_settling_shares
SELECT outcome, sum(shares) AS shares, sum(credited_hashes) AS credited_hashes FROM share_counts
WHERE block_index >= %(first)s AND block_index < %(end)s GROUP BY outcome;

-- name: note_settled_shares
UPDATE settled SET until_block = %(until)s;
