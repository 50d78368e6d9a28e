-- Farmers and miners have webhooks of their own, for what is theirs alone; and any webhook may be paused.

-- subject_id: the farmer_id or miner_id whose own it is, which alone is told of; null for operators', who are told of everything.
-- paused_at: nothing is sent since then, what happens waits. asked_at: when its owner last had something sent by hand.
ALTER TABLE webhooks
    ADD COLUMN role TEXT CHECK (role IN ('farmer', 'miner')),
    ADD COLUMN subject_id UUID,
    ADD COLUMN paused_at TIMESTAMPTZ,
    ADD COLUMN asked_at TIMESTAMPTZ,
    ADD CONSTRAINT webhooks_owner CHECK ((role IS NULL) = (subject_id IS NULL));
CREATE INDEX webhooks_subject ON webhooks (subject_id);

-- Only where somebody wants to know who may.
CREATE OR REPLACE FUNCTION note_webhook_event(new_type TEXT, new_block BIGINT, new_owner UUID, new_subject UUID) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO webhook_events (type, block_index, owner_id, subject_id)
    SELECT new_type, new_block, new_owner, new_subject
    WHERE EXISTS (SELECT FROM webhooks
                  WHERE removed_at IS NULL AND new_type = ANY (types) AND (subject_id IS NULL OR subject_id = new_owner));
$$;

CREATE FUNCTION tell_own_webhooks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'plantings' THEN PERFORM note_webhook_event('planting', NEW.block_index, NEW.farmer_id, NULL);
    WHEN 'payouts' THEN PERFORM note_webhook_event('payout.refused', NULL, NEW.miner_id, NEW.payout_id);
    WHEN 'withdrawals' THEN PERFORM note_webhook_event('withdrawal.refused', NULL, NEW.farmer_id, NEW.withdrawal_id);
    WHEN 'farmers' THEN PERFORM note_webhook_event('farmer.left', NULL, NEW.farmer_id, NEW.farmer_id);
    WHEN 'api_keys' THEN PERFORM note_webhook_event('key.ended', NULL, NEW.subject_id, NEW.key_id);
    END CASE;
    RETURN NULL;
END $$;

CREATE TRIGGER own_webhooks AFTER INSERT ON plantings FOR EACH ROW
    WHEN (NEW.outcome = 'planted') EXECUTE FUNCTION tell_own_webhooks();
CREATE TRIGGER own_webhooks AFTER UPDATE OF closed_at ON payouts FOR EACH ROW
    WHEN (OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL AND NEW.code IS NOT NULL) EXECUTE FUNCTION tell_own_webhooks();
CREATE TRIGGER own_webhooks AFTER UPDATE OF closed_at ON withdrawals FOR EACH ROW
    WHEN (OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL AND NEW.code IS NOT NULL) EXECUTE FUNCTION tell_own_webhooks();
CREATE TRIGGER own_webhooks AFTER UPDATE OF status ON farmers FOR EACH ROW
    WHEN (OLD.status <> 'departed' AND NEW.status = 'departed') EXECUTE FUNCTION tell_own_webhooks();
CREATE TRIGGER own_webhooks AFTER UPDATE OF revoked_at ON api_keys FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL AND NEW.subject_id IS NOT NULL)
    EXECUTE FUNCTION tell_own_webhooks();
