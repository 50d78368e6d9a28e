"""Faults in every phase of a block, on a pool that runs, and an oracle that judges what became of its promises.

history.py      what the ledgers say, read with stellar-sdk alone
record.py       what the database says, read with psycopg alone
oracle.py       whether they tell the same story, and every promise was kept: it knows nothing of the pool's code
test_oracle.py  doctored databases: each promise that is broken is seen
"""
