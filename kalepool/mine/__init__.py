"""Hashing for a pool over HTTP: what `kalepool mine` does.

miner.py  the client: follows the jobs, hashes, brings the shares
"""
