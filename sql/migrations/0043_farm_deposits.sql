-- A farmer's newest deposits, without reading all of its rewards.
CREATE INDEX transfers_deposited ON transfers (credit, number) WHERE event = 'deposited';
