"""The classic operations, a file for each kind, with the result codes and the order of checks of stellar-core 27.

Of every operation there are two functions: whether it is well formed, which needs no ledger, and what it does to one.
Both end with a result code, or with an `Ended` where there is more to say.

payments.py             accounts made, paid and merged
account_settings.py     options, data entries, sequence numbers
trust.py                trustlines: made, changed, authorised, clawed back
claimable_balances.py   claimable balances: made, claimed, clawed back
sponsorships.py         accounts that pay others' reserves
movements.py            amounts credited and debited
sac_events.py           the events that tell of movements, as an asset's contract would emit them (CAP-67)
operation_context.py    where an operation runs, and how it ends
validity.py             what asset codes and texts may consist of
"""
