"""What the pool decides, pure: state and the time go in, decisions come out.

schedule.py       whom to plant, which works to hand in and when, what to harvest
submitters.py     who takes a transaction to the network: the relayer, or the pool itself
retries.py        what failed: whether and when it is tried again
delivering.py     a webhook that did not take what it was sent: how long it is left alone
price_gate.py     whether something is worth its fees: one test for all that is paid for
foresight.py      what a block should bring: rivals and zeros foreseen
stake.py          one stake for all farmers of the pool, block by block
planting.py       how many to plant in a block, and with what stake
endurance.py      how long the pool's XLM lasts
departing.py      how an account is closed while somebody sends it dust
snapshot.py       what the schedule looks at
timing.py         the ledgers to come, and in how many of them a work lands
rpc_servers.py    which RPC server is asked, and how often
turns.py          the order among equals: the most owed first
search.py         which farmer a worker of the cluster hashes for
external_rigs.py  which farmer an external miner's rig hashes for
vardiff.py        how hard a rig's shares are, for one every few seconds
shares.py         is a share what it claims, what does it count for, how fast is its finder
ranges.py         who may try which nonces
withholding.py    miners that hold back what they found
conduct.py        miners that bring rubbish: slowed, then banned
credits.py        what miners earn, exact to the stroop
share_log.py      what every share of a block was, for everybody to check its credits
paying.py         which miners are paid, in what order
bookkeeping.py    what events mean for the books: debit, credit, cause
"""
