"""The command line: a file for each command, named as it is (`bench` is kalepool/bench.py), and what they share.

up.py          the whole pool on this machine
status.py      one look at the pool
farmer.py      add, list and show farmers, and let them go
pooler.py      add poolers
miner.py       add external miners
books.py       the double-entry books: checked, shown, exported
operator.py    make keys for operators
mine.py        hash for a pool over HTTP
api.py         the API and custody as a process
coordinate.py  the coordinator as a process
devnet.py      an offline network, and replays of recordings
migrate.py     the database's schema
settings.py    every setting, its value and where that comes from
custody.py     the master key
pool.py        shared: the settings, the running pool, its database and API
"""
