-- The books' entries have no gaps, and are in the order of their times but for what waited for the lock of the books: by
-- halves, the number of an entry that was posted before a moment, and none after it was earlier by ten minutes.
CREATE FUNCTION entry_before(moment TIMESTAMPTZ) RETURNS BIGINT LANGUAGE sql STABLE AS $$
    WITH RECURSIVE search (low, high) AS (
        SELECT 0::bigint, (SELECT number FROM book_head) + 1
        UNION ALL
        SELECT CASE WHEN t.posted_at < moment - interval '10 minutes' THEN t.number ELSE s.low END,
               CASE WHEN t.posted_at < moment - interval '10 minutes' THEN s.high ELSE t.number END
        FROM search s JOIN transfers t ON t.number = (s.low + s.high) / 2
        WHERE s.high - s.low > 1)
    SELECT max(low) FROM search
$$;
