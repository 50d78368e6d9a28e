-- services/siblings.py: the API's processes, and which of them leads.

-- name: beat_sibling
-- A process is there, and takes those off the list that were not heard of for long.
WITH gone AS (
    DELETE FROM api_processes WHERE seen_at < now() - make_interval(secs => %(forget_seconds)s::float) AND process_id <> %(process_id)s
)
INSERT INTO api_processes (process_id, address) VALUES (%(process_id)s, %(address)s)
ON CONFLICT (process_id) DO UPDATE SET seen_at = now();

-- name: delete_sibling
DELETE FROM api_processes WHERE process_id = %(process_id)s;

-- name: select_siblings
-- The processes that are there, with whether it leads.
SELECT p.process_id, p.address, coalesce(p.process_id = l.process_id, false) AS leads
FROM api_processes p CROSS JOIN api_lead l
WHERE p.seen_at > now() - make_interval(secs => %(alive_seconds)s::float);

-- name: take_lead
-- Ends the term of whoever led before: waits for what that is writing down at this moment.
UPDATE api_lead SET term = term + 1, process_id = NULL, taken_at = now() RETURNING term;

-- name: show_lead
-- Says who leads, once it is ready; touches no row where another has taken the lead meanwhile.
UPDATE api_lead SET process_id = %(process_id)s WHERE term = %(term)s;

-- name: select_term
SELECT term FROM api_lead;
