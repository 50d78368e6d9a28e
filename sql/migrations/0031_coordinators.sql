-- Several coordinators may run for a pooler. One leads, by a lease that it renews; its fence is a number that grows with every
-- leadership. Whoever writes for a leadership says its number, and the database refuses all but the newest.

CREATE TABLE coordinators (
    coordinator_id UUID PRIMARY KEY,
    pooler_id UUID NOT NULL REFERENCES poolers,
    place TEXT NOT NULL, -- machine/process
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE coordinator_leases (
    pooler_id UUID PRIMARY KEY REFERENCES poolers,
    fence BIGINT NOT NULL CHECK (fence > 0),
    coordinator_id UUID NOT NULL,
    place TEXT NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    given_up BOOLEAN NOT NULL DEFAULT false, -- by itself, at its end
    taken_from TEXT, -- whose lease had run out; NULL: nobody's, or one that was given up
    -- Makes the fence a key. So who takes over, and changes it, waits for those who hold the row FOR KEY SHARE; who renews, and
    -- does not, neither waits nor is waited for.
    UNIQUE (pooler_id, fence)
);

-- The first statement of a transaction that is a leadership's: from here to its end nobody takes over. The one who stops in
-- between is thrown out, or the next would wait for it.
CREATE FUNCTION require_leadership(leader_of UUID, number BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM coordinator_leases WHERE pooler_id = leader_of AND fence = number FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'number % does not lead pooler % any more', number, leader_of USING ERRCODE = 'KP001';
    END IF;
    PERFORM set_config('kalepool.fence', number::text, true), set_config('idle_in_transaction_session_timeout', '2s', true);
END $$;

-- A coordinator's login writes to no table without having passed there.
CREATE FUNCTION refuse_unfenced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'kalepool_coordinator' AND coalesce(current_setting('kalepool.fence', true), '') = '' THEN
        RAISE EXCEPTION 'a coordinator writes to % without the number of its leadership', TG_TABLE_NAME USING ERRCODE = 'KP001';
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    written TEXT;
BEGIN
    FOREACH written IN ARRAY ARRAY['blocks', 'block_operations', 'block_plans', 'workers', 'house_hashes', 'hashrates', 'shares',
                                   'works'] LOOP
        EXECUTE format('CREATE TRIGGER fenced BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT '
                       'EXECUTE FUNCTION refuse_unfenced()', written);
    END LOOP;
END $$;
