-- What is emptied once it is old is found without reading the whole journal.
CREATE INDEX submissions_envelopes ON submissions (submission_id)
    WHERE envelope_xdr <> '' AND status <> 'open' AND action IN ('plant', 'work', 'harvest');
CREATE INDEX workers_gone ON workers (last_seen_at) WHERE status = 'gone';
