"""The pool's core: what is done for every farmer in every block.

opening.py       whether a block can be planted in now
plant.py         plants the stakes of a pooler's farmers
work.py          hashes what was found again and hands in the best of each farmer
harvest.py       collects the rewards of past blocks, packed
compensation.py  what is owed for a lost stake, and by whom
"""
