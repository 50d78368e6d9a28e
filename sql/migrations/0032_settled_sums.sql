-- Sums of what does not change any more, so that nothing that is asked for often reads all of the past.

-- How far has been added up: events and transactions below until_id, entries of the books up to until_number, shares of
-- blocks below until_block. Who reads adds what came since.
CREATE TABLE settled (
    single       BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    until_id     UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    until_number BIGINT NOT NULL DEFAULT 0,
    until_block  BIGINT NOT NULL DEFAULT 0
);
INSERT INTO settled DEFAULT VALUES;

CREATE TABLE farmer_sums (
    farmer_id              UUID PRIMARY KEY REFERENCES farmers,
    blocks_planted         BIGINT NOT NULL,
    plants_failed          BIGINT NOT NULL,
    staked_stroops         stroops NOT NULL,
    blocks_worked          BIGINT NOT NULL,
    works_failed           BIGINT NOT NULL,
    best_zeros             INTEGER,
    blocks_harvested       BIGINT NOT NULL,
    harvests_failed        BIGINT NOT NULL,
    rewarded_stroops       stroops NOT NULL,
    forecast_stroops       stroops NOT NULL,
    forecast_known_stroops stroops NOT NULL, -- rewards of which there was a forecast
    network_fee_stroops    stroops NOT NULL
) WITH (fillfactor = 50);

-- Counters of /metrics by name and labels.
CREATE TABLE pool_sums (
    labels TEXT[] PRIMARY KEY,
    amount NUMERIC NOT NULL
) WITH (fillfactor = 50);

-- What a day in UTC cost and brought, without lost stakes.
CREATE TABLE day_sums (
    day                 DATE PRIMARY KEY,
    plant_fee_stroops   stroops NOT NULL,
    work_fee_stroops    stroops NOT NULL,
    harvest_fee_stroops stroops NOT NULL,
    other_fee_stroops   stroops NOT NULL,
    won_stroops         stroops NOT NULL,
    worth_stroops       NUMERIC NOT NULL,
    unpriced_stroops    stroops NOT NULL
);

-- What entries of a kind moved into and out of an account of the books.
CREATE TABLE account_sums (
    account        TEXT NOT NULL,
    event          TEXT NOT NULL,
    debit_stroops  stroops NOT NULL,
    credit_stroops stroops NOT NULL,
    PRIMARY KEY (account, event)
) WITH (fillfactor = 50);

-- Pails planted before until_id that are neither harvested nor given up as lost.
CREATE TABLE open_pails (
    block_index BIGINT NOT NULL,
    farmer_id   UUID NOT NULL REFERENCES farmers,
    PRIMARY KEY (block_index, farmer_id)
);
CREATE INDEX open_pails_farmer ON open_pails (farmer_id);

------------------------------------------------------------------------------------------------------------------------
-- What is added up, a row each

-- A block that was worked several times counts with its first work.
CREATE VIEW farmer_events AS
SELECT event_id, farmer_id, (outcome = 'planted')::integer AS blocks_planted, (outcome = 'failed')::integer AS plants_failed,
       CASE WHEN outcome = 'planted' THEN stake_stroops ELSE 0 END::numeric AS staked_stroops,
       0 AS blocks_worked, 0 AS works_failed, NULL::integer AS best_zeros, 0 AS blocks_harvested, 0 AS harvests_failed,
       0::numeric AS rewarded_stroops, 0::numeric AS forecast_stroops, 0::numeric AS forecast_known_stroops,
       0::numeric AS network_fee_stroops
FROM plantings
UNION ALL
SELECT event_id, farmer_id, 0, 0, 0,
       (outcome = 'worked' AND NOT EXISTS (
           SELECT FROM works e WHERE e.farmer_id = w.farmer_id AND e.block_index = w.block_index AND e.outcome = 'worked'
           AND e.event_id < w.event_id))::integer,
       (outcome = 'failed')::integer, CASE WHEN outcome = 'worked' THEN zeros END, 0, 0, 0, 0, 0, 0
FROM works w
UNION ALL
SELECT event_id, farmer_id, 0, 0, 0, 0, 0, NULL, (outcome = 'harvested')::integer, (outcome = 'failed')::integer,
       CASE WHEN outcome = 'harvested' THEN reward_stroops ELSE 0 END,
       CASE WHEN outcome = 'harvested' THEN coalesce(forecast_stroops, 0) ELSE 0 END,
       CASE WHEN outcome = 'harvested' AND forecast_stroops IS NOT NULL THEN reward_stroops ELSE 0 END, 0
FROM harvests
UNION ALL
SELECT s.submission_id, i.farmer_id, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, div(s.fee_stroops, n.items)
FROM submissions s JOIN submission_items i USING (submission_id)
CROSS JOIN LATERAL (SELECT count(*) AS items FROM submission_items WHERE submission_id = s.submission_id) n
WHERE i.farmer_id IS NOT NULL AND s.fee_stroops IS NOT NULL;

-- All of money_events but lost stakes, of which operators may think otherwise later.
CREATE VIEW settling_money AS
SELECT s.submission_id AS event_id, i.block_index, s.action,
       CASE WHEN i.submission_id IS NULL THEN s.fee_stroops
            ELSE div(s.fee_stroops, n.items) + (i.item_number < mod(s.fee_stroops, n.items))::integer END AS fee_stroops,
       0::numeric AS won_stroops
FROM submissions s
LEFT JOIN submission_items i USING (submission_id)
CROSS JOIN LATERAL (SELECT count(*) AS items FROM submission_items WHERE submission_id = s.submission_id) n
WHERE s.fee_stroops IS NOT NULL
UNION ALL
SELECT event_id, block_index, 'harvest', 0, reward_stroops FROM harvests WHERE outcome = 'harvested';

------------------------------------------------------------------------------------------------------------------------
-- Sums over all time: what is settled, and what came since. In PL/pgSQL, where the bound is a value that plans are made
-- for; STABLE, so that both are of one moment.

CREATE FUNCTION farmer_totals(of_farmer UUID) RETURNS farmer_sums LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    since UUID := (SELECT until_id FROM settled);
    found farmer_sums;
BEGIN
    SELECT of_farmer, coalesce(sum(blocks_planted), 0), coalesce(sum(plants_failed), 0), coalesce(sum(staked_stroops), 0),
           coalesce(sum(blocks_worked), 0), coalesce(sum(works_failed), 0), max(best_zeros), coalesce(sum(blocks_harvested), 0),
           coalesce(sum(harvests_failed), 0), coalesce(sum(rewarded_stroops), 0), coalesce(sum(forecast_stroops), 0),
           coalesce(sum(forecast_known_stroops), 0), coalesce(sum(network_fee_stroops), 0) INTO found
    FROM (SELECT blocks_planted, plants_failed, staked_stroops, blocks_worked, works_failed, best_zeros, blocks_harvested,
                 harvests_failed, rewarded_stroops, forecast_stroops, forecast_known_stroops, network_fee_stroops
          FROM farmer_sums WHERE farmer_id = of_farmer
          UNION ALL
          SELECT blocks_planted, plants_failed, staked_stroops, blocks_worked, works_failed, best_zeros, blocks_harvested,
                 harvests_failed, rewarded_stroops, forecast_stroops, forecast_known_stroops, network_fee_stroops
          FROM farmer_events WHERE event_id >= since AND farmer_id = of_farmer) every;
    RETURN found;
END $$;

CREATE OR REPLACE VIEW farmer_performance AS
SELECT f.farmer_id, f.pooler_id, f.status,
       t.blocks_planted, t.plants_failed, t.staked_stroops::numeric AS staked_stroops,
       t.blocks_worked, t.works_failed, t.best_zeros,
       t.blocks_harvested, t.harvests_failed, t.rewarded_stroops::numeric AS rewarded_stroops,
       t.forecast_stroops::numeric AS forecast_stroops,
       CASE WHEN t.blocks_planted > 0 THEN t.blocks_harvested::DOUBLE PRECISION / t.blocks_planted END AS success_rate
FROM farmers f CROSS JOIN LATERAL farmer_totals(f.farmer_id) t;

-- Stakes that are out, of one farmer or of all (NULL).
CREATE FUNCTION pails_out(of_farmer UUID) RETURNS TABLE (block_index BIGINT, farmer_id UUID) LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    since UUID := (SELECT until_id FROM settled);
BEGIN
    RETURN QUERY
    SELECT o.block_index, o.farmer_id
    FROM (SELECT e.block_index, e.farmer_id FROM open_pails e WHERE of_farmer IS NULL OR e.farmer_id = of_farmer
          UNION
          SELECT p.block_index, p.farmer_id FROM plantings p
          WHERE p.event_id >= since AND p.outcome = 'planted' AND (of_farmer IS NULL OR p.farmer_id = of_farmer)) o
    WHERE NOT EXISTS (SELECT FROM harvests h
                      WHERE h.block_index = o.block_index AND h.farmer_id = o.farmer_id AND h.outcome = 'harvested')
      AND NOT EXISTS (SELECT FROM pooler_compensations c
                      WHERE c.block_index = o.block_index AND c.farmer_id = o.farmer_id);
END $$;

-- What entries of a kind moved into and out of an account of the books, over all time.
CREATE FUNCTION account_moves(of_account TEXT, of_event TEXT, OUT debit_stroops NUMERIC, OUT credit_stroops NUMERIC)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(m.debit), 0), coalesce(sum(m.credit), 0)
    FROM (SELECT s.debit_stroops::numeric AS debit, s.credit_stroops::numeric AS credit FROM account_sums s
          WHERE s.account = of_account AND s.event = of_event
          UNION ALL
          SELECT amount_stroops, 0 FROM transfers
          WHERE debit = of_account AND number > (SELECT until_number FROM settled) AND event = of_event
          UNION ALL
          SELECT 0, amount_stroops FROM transfers
          WHERE credit = of_account AND number > (SELECT until_number FROM settled) AND event = of_event) m
$$;

------------------------------------------------------------------------------------------------------------------------
-- What was read whole for one farmer or pooler

CREATE INDEX pooler_compensations_farmer ON pooler_compensations (farmer_id);
CREATE INDEX block_operations_pooler ON block_operations (pooler_id, block_index);

-- Every day a day's envelopes are emptied: their room is to be found within days, not once a fifth of all rows has changed.
ALTER TABLE submissions SET (autovacuum_vacuum_scale_factor = 0.002, autovacuum_vacuum_threshold = 50000);
