"""Blocks of KALE as the pool would play them, without a network: for `kalepool simulate` and `benchmarks/simulator.py`.

The contract's rules are `kalepool.protocol`'s, the pool's decisions are `kalepool.policy`'s own code under a made-up
clock. Only hashing is replaced: what so many hashes find is drawn from its distribution.

luck.py     what hashes find
block.py    one block: its ledgers, its pails, what they earn and what they cost
player.py   the pool's schedule in one block, tick by tick
mainnet.py  the other farmers of the network as it is
planned.py  whom the pool plants, and with what stake: its plans
seasons.py  block after block: who is planted with what stake, and what came of it
summary.py  what a run of blocks came to
"""
