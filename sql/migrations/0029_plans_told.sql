-- Whom the plan leaves out of a block, nobody is to hash for: what a plan says changes jobs, too.
CREATE TRIGGER tell_new_plan AFTER INSERT ON block_plans FOR EACH ROW EXECUTE FUNCTION tell_block();
CREATE TRIGGER tell_other_plan AFTER UPDATE ON block_plans FOR EACH ROW
    WHEN (OLD.places IS DISTINCT FROM NEW.places) EXECUTE FUNCTION tell_block();
