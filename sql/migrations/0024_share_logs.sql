-- The logs of shares that blocks' credits are reckoned with: what they were, so that anybody can check them.

-- sha256: of the log's bytes, which are made of `shares` whenever somebody asks; NULL where not all were kept any more.
CREATE TABLE share_logs (
    block_index BIGINT PRIMARY KEY,
    sha256      hash32,
    shares      BIGINT NOT NULL,
    written_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON share_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One hash for all logs of the block's window. NULL for blocks that were closed before there were logs.
ALTER TABLE block_closings ADD COLUMN window_hash hash32;
