-- Webhooks: programs of others are told what happens, each at an address that an operator names.

-- secret_sealed: what deliveries are signed with, sealed for this row and its address. failures in a row, and when it is its
-- turn again; trouble: why not, in words that hold no secret. What was removed goes a batch at a time, its deliveries first.
CREATE TABLE webhooks (
    webhook_id    UUID PRIMARY KEY,
    url           TEXT NOT NULL CHECK (length(url) <= 500),
    types         TEXT[] NOT NULL CHECK (cardinality(types) > 0),
    secret_sealed BYTEA NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    removed_at    TIMESTAMPTZ,
    failures      INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    trouble       TEXT,
    retry_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    delivered_at  TIMESTAMPTZ
);

-- What has happened and was not yet made into deliveries. owner_id: the pooler of a block, else the farmer or the miner.
-- subject_id: the compensation, the payout or the withdrawal.
CREATE TABLE webhook_events (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type        TEXT NOT NULL,
    block_index BIGINT,
    owner_id    UUID NOT NULL,
    subject_id  UUID,
    happened_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- event_id: the same at every webhook that is told of it, a UUIDv7 in the order of what happened. body: as it is sent, each
-- time. since: from when a day is tried.
CREATE TABLE webhook_deliveries (
    webhook_id UUID NOT NULL REFERENCES webhooks,
    event_id   UUID NOT NULL,
    type       TEXT NOT NULL,
    body       TEXT NOT NULL,
    status     TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'given_up')),
    attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    trouble    TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    since      TIMESTAMPTZ NOT NULL DEFAULT now(),
    due_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    closed_at  TIMESTAMPTZ,
    PRIMARY KEY (webhook_id, event_id),
    CHECK ((status = 'waiting') = (closed_at IS NULL))
);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook_id, event_id) WHERE status = 'waiting';
CREATE INDEX webhook_deliveries_patience ON webhook_deliveries (since) WHERE status = 'waiting';
CREATE INDEX webhook_deliveries_given_up ON webhook_deliveries (webhook_id, event_id) WHERE status = 'given_up';
CREATE INDEX webhook_deliveries_closed ON webhook_deliveries (closed_at) WHERE status <> 'waiting';

-- In the transaction that makes it happen, and only where somebody wants to know. With its owner's rights: a coordinator, too,
-- makes things happen.
CREATE FUNCTION note_webhook_event(new_type TEXT, new_block BIGINT, new_owner UUID, new_subject UUID) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO webhook_events (type, block_index, owner_id, subject_id)
    SELECT new_type, new_block, new_owner, new_subject
    WHERE EXISTS (SELECT FROM webhooks WHERE removed_at IS NULL AND new_type = ANY (types));
$$;
REVOKE ALL ON FUNCTION note_webhook_event FROM PUBLIC;

CREATE FUNCTION tell_webhooks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'block_operations' THEN
        IF TG_OP = 'INSERT' THEN
            PERFORM note_webhook_event('block.opened', NEW.block_index, NEW.pooler_id, NULL);
        ELSIF OLD.status = 'open' AND NEW.status <> 'open' THEN
            PERFORM note_webhook_event('block.closed', NEW.block_index, NEW.pooler_id, NULL);
        END IF;
    WHEN 'harvests' THEN
        PERFORM note_webhook_event('harvest', NEW.block_index, NEW.farmer_id, NULL);
    WHEN 'pooler_compensations' THEN
        IF NEW.standing = 'owed' AND (TG_OP = 'INSERT' OR OLD.standing <> 'owed') THEN
            PERFORM note_webhook_event('stake.lost', NEW.block_index, NEW.farmer_id, NEW.compensation_id);
        END IF;
    WHEN 'submission_items' THEN
        IF TG_OP = 'INSERT' OR OLD.status <> 'applied' THEN
            IF NEW.payout_id IS NOT NULL THEN
                PERFORM note_webhook_event('payout', NULL, NEW.miner_id, NEW.payout_id);
            ELSE
                PERFORM note_webhook_event('withdrawal', NULL, NEW.farmer_id, NEW.withdrawal_id);
            END IF;
        END IF;
    WHEN 'claimable_balances' THEN
        PERFORM note_webhook_event('payout', NULL, miner_id, payout_id) FROM payouts WHERE payout_id = NEW.payout_id;
    END CASE;
    RETURN NULL;
END $$;

CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OF status ON block_operations FOR EACH ROW EXECUTE FUNCTION tell_webhooks();
CREATE TRIGGER webhooks AFTER INSERT ON harvests FOR EACH ROW WHEN (NEW.outcome = 'harvested') EXECUTE FUNCTION tell_webhooks();
CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OF standing ON pooler_compensations
    FOR EACH ROW EXECUTE FUNCTION tell_webhooks();
CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OF status ON submission_items FOR EACH ROW
    WHEN (NEW.status = 'applied' AND (NEW.payout_id IS NOT NULL OR NEW.withdrawal_id IS NOT NULL))
    EXECUTE FUNCTION tell_webhooks();
CREATE TRIGGER webhooks AFTER UPDATE OF claimed_at ON claimable_balances FOR EACH ROW
    WHEN (OLD.claimed_at IS NULL AND NEW.claimed_at IS NOT NULL) EXECUTE FUNCTION tell_webhooks();
