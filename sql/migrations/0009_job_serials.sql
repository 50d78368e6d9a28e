-- Every job of an external miner has a number of its own, which names its nonces. Never reused. A rig's number among the
-- searchers says whose it is, and names no nonces any more.
CREATE SEQUENCE job_serials AS BIGINT MINVALUE 1;
