"""The double-entry books of the pool's KALE. Entries are written where things happen, by postings.py.

held.py      holds the books against the chain, and explains what differs
ledgers.py   the books as everybody may read them, checked in themselves, exported
collecting.py  the pool's part of rewards, from farmers' wallets into the treasury
treasury.py  what the treasury has, and whose it is
compensating.py  lost stakes, paid from the operator's part of the treasury
results.py   what blocks and days cost and brought
amending.py  corrections by operators, as further entries
"""
