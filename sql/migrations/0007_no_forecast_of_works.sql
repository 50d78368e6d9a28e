-- A column that nobody wrote.

-- A forecast is reckoned from the block as it stands whenever it is shown.
ALTER TABLE works DROP COLUMN forecast_stroops;
