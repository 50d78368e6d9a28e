"""Hashing for a pool over HTTP.

command.py   the command `mine`: what it is given, and what it shows
miner.py     the client: follows the jobs, keeps the engines busy, brings what they find
job.py       a job as the pool gives it, and which of its nonces are next
engines.py   what can hash: the backends of `kernels`, or another miner's program
contents.py  what the miner's own package is made of
__main__.py  `kalepool-miner`: this and `bench` alone, as a package that needs nothing of the pool (see miner/)
"""
