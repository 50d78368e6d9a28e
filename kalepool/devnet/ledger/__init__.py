"""The ledger: its state, the transactions that change it, and the closing of one ledger after the other.

store.py           the chain on disk: one SQLite database, and the history the RPC methods read
event_rows.py      events as they are kept, in getEvents' order
closing.py         the last ledger and how the next is closed: fees, transactions, refunds
queue.py           the pending transactions, until a ledger takes them
checks.py          what a transaction must pass to be queued and to be applied
soroban_limits.py  what resources a Soroban transaction may declare
signatures.py      whose signatures a transaction bears, and whether they weigh enough
operations.py      the classic operations by type, and the thresholds they are signed with
classic/           what each of them does: payments, trustlines, options, claimable balances
operation_results.py  how operations ended, as XDR
soroban_calls.py   whom the ledger asks to run a contract call, and what is answered
transactions.py    envelopes read, and the results they end with
ed25519.py         one signature checked
fees.py            what a Soroban transaction pays for resources, events and rent
account_ids.py     the raw keys behind account ids and M… addresses
meta.py            what a closed ledger tells about itself: transaction meta, header, close meta
state_view.py      changes on top of a state, merged or dropped whole
ledger_entries.py  accounts, trustlines, contract data and code as values, and their XDR
"""
