"""Faults in every phase of a block, on a pool that runs, and an oracle that judges what became of its promises.

__main__.py     what `make chaos` runs
driver.py       fault after fault, the judgement, and the table
cells.py        the faults, the phases, and their order
stage.py        the pool under test, and the levers to it
customers.py    farmers who withdraw meanwhile
clock.c         a wrong clock for its processes
oracle.py       whether ledgers and database tell the same story, and every promise was kept
history.py      what the ledgers say, read with stellar-sdk alone
record.py       what the database says, read with psycopg alone
test_chaos.py   a short run, always the same
test_two_coordinators.py  the leader is frozen in every phase, with another beside it
test_oracle.py  doctored databases: each promise that is broken is seen
"""
