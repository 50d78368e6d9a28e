"""What external miners need: jobs, shares, credits. `Mining` is the live part, kept by the API process.

service.py  Mining: ties the others together, and runs their loops
dealer.py   what there is to hash, and who gets which job
homes.py    which rigs this process deals with
jobs.py     job ids that carry their terms, signed
intake.py   shares on their way into the database
gate.py     who is slowed down or banned
telling.py  what the API's processes tell each other of rigs and miners
suspicion.py  who holds back shares
miners.py   miners as accounts: registration, invitations, rigs
hashrates.py  what rigs search by, sampled for charts
credits.py  a block's totals and each miner's part of its fee
solo.py  whose rigs may hash for one farmer alone
closing.py  the same in the books, for good
share_logs.py  the shares behind a closed block's credits, for everybody
payouts.py  miners are paid from the treasury
payees.py   whether a miner's wallet can be paid
payout_wallets.py  where miners are paid, sealed
payout_wishes.py   a miner asks to be paid now
payout_records.py  what miners are due and were paid
claimables.py  what is put down for miners to claim
"""

from __future__ import annotations

from kalepool.services.mining.service import Mining

__all__ = ["Mining"]
