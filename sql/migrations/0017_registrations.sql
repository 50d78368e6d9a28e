-- Strangers who register and bring nothing hold no place, and cost the pool nothing.

-- Who registered the farmer. Those who are here already count as an operator's.
ALTER TABLE farmers ADD COLUMN registered_by TEXT NOT NULL DEFAULT 'operator'
    CHECK (registered_by IN ('farmer', 'pooler', 'operator'));
-- The network address that a farmer registered itself from, until it has brought something.
ALTER TABLE farmers ADD COLUMN registered_from TEXT;
CREATE INDEX farmers_registered_from ON farmers (registered_from) WHERE registered_from IS NOT NULL;
-- KALE that it has to bring before the pool pays for anything.
ALTER TABLE farmers ADD COLUMN deposit_stroops stroops NOT NULL DEFAULT 0;
