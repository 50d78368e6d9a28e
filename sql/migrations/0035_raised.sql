-- What all of a block's pails are searched for before anybody gets a zero that pays; rigs are placed by it, too.
ALTER TABLE block_plans ADD COLUMN least_zeros INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER tell_other_plan ON block_plans;
CREATE TRIGGER tell_other_plan AFTER UPDATE ON block_plans FOR EACH ROW
    WHEN (OLD.places IS DISTINCT FROM NEW.places OR OLD.least_zeros IS DISTINCT FROM NEW.least_zeros)
    EXECUTE FUNCTION tell_block();
