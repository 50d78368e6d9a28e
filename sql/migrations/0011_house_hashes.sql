-- What the pool's own workers hashed in each block: they are one of those who share its fee.
CREATE TABLE house_hashes (
    block_index BIGINT PRIMARY KEY,
    hashes      NUMERIC(39, 0) NOT NULL DEFAULT 0
);
