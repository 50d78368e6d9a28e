"""The command line: a file for each command, named as it is (`bench` is kalepool/bench.py), and what they share.

up.py          the whole pool on this machine
status.py      one look at the pool
pause.py       pause and resume planting, for the whole pool
doctor.py      everything that can be wrong, with the way out
logs.py        what the parts of `up` wrote
backup.py      backup, restore and move: the database as a file, and somewhere else
farmer.py      add, list, show and change farmers, and let them go
pooler.py      add, list, open and close poolers
miner.py       add, list and show external miners, and make their keys
books.py       the double-entry books: checked, shown, exported
compensation.py  what is owed for lost stakes, and an operator's yes
operator.py    make and list operators' keys
key.py         list and revoke everybody's keys
webhook.py     programs of others that are told what happens
verify_credits.py  a block's credits reckoned again from what is public
simulate.py    what a day would bring, before anything is started
mine.py        hash for a pool over HTTP
api.py         the API and custody as a process
coordinate.py  the coordinator as a process
devnet.py      an offline network, and replays of recordings
migrate.py     the database's schema
settings.py    every setting, its value and where that comes from
custody.py     the master key
pool.py        shared: the settings, the running pool, its database and API
"""
