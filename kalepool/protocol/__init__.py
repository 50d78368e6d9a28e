"""The KALE contract's rules, pure: nothing here reads a clock, a network or a database.

model.py      the contract's state and constants
lifecycle.py  its functions, check by check: plant, work, harvest and the owner's
rewards.py    what a pail earns
hashing.py    the hash that work is made of, and its zeros
replay.py     recorded calls of the real contract, made again
"""
