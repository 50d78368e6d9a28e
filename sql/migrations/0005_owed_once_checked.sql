-- What is owed only once it was checked.

-- to-check: nobody knows whether the stake is lost, somebody else may have harvested it. not-owed: it was found to be back.
ALTER TABLE pooler_compensations ADD COLUMN standing TEXT NOT NULL DEFAULT 'owed'
    CHECK (standing IN ('owed', 'to-check', 'not-owed'));
ALTER TABLE pooler_compensations ADD CHECK (standing = 'owed' OR paid_at IS NULL);
CREATE INDEX pooler_compensations_to_check ON pooler_compensations (compensation_id) WHERE standing = 'to-check';
