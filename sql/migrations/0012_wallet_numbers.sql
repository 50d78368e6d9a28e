-- Every farmer's wallet has a number of its own, from which and the master key its secret key is derived. Never reused.
CREATE SEQUENCE wallet_numbers AS BIGINT MINVALUE 1;
