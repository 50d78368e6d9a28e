"""The ledger: its state, the transactions that change it, and the closing of one ledger after the other.

store           the chain on disk: one SQLite database, and the history the RPC methods read
event_rows      events as they are kept, in getEvents' order
closing         the last ledger and how the next is closed: fees, transactions, refunds
queue           the pending transactions, until a ledger takes them
checks          what a transaction must pass to be queued and to be applied
signatures      whose signatures a transaction bears, and whether they weigh enough
operations      the classic operations: payments, trustlines, options, merges
soroban_calls   whom the ledger asks to run a contract call, and what is answered
transactions    envelopes read, and the results they end with
ed25519         one signature checked
fees            what a Soroban transaction pays for resources, events and rent
meta            what a closed ledger tells about itself: transaction meta, header, close meta
state_view      changes on top of a state, merged or dropped whole
ledger_entries  accounts, trustlines, contract data and code as values, and their XDR
"""
