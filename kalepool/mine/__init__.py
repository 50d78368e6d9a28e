"""Hashing for a pool over HTTP.

job.py      a job as the pool gives it, and which of its nonces are next
engines.py  what can hash: the backends of `kernels`, or another miner's program
miner.py    the client: follows the jobs, keeps the engines busy, brings what they find
"""
