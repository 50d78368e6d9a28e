-- As long as a lease usually lasts, one may stop within a transaction: a busy process is not thrown out, and one that is
-- frozen is by the time that its lease has run out.
CREATE OR REPLACE FUNCTION require_leadership(leader_of UUID, number BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM coordinator_leases WHERE pooler_id = leader_of AND fence = number FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'number % does not lead pooler % any more', number, leader_of USING ERRCODE = 'KP001';
    END IF;
    PERFORM set_config('kalepool.fence', number::text, true), set_config('idle_in_transaction_session_timeout', '4s', true);
END $$;
