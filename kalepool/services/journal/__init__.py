"""Write before send: every transaction is in the database, with its hash and time bound, before it is on the network.

intents.py      what a transaction is to do, for whom, and one whose outcome is not known yet
carry.py        takes an intent to the chain: recorded, sent, followed, settled
recovery.py     looks up what a process that died has left open, and takes an operator's word where nobody else knows
forgotten.py    decides by what the ledger holds what became of a transaction that the RPC server has forgotten
unread.py       what an applied transaction returned, where the answer that tells it cannot be read
gaps.py         what a ledger has of ours and this database has not: after it was put back to an older state
imports.py      such transactions written down, as far as the RPC server still knows them
state.py        what this process follows at the moment, and what only an operator can settle
events.py       the append-only events: what came of every plant, work and harvest
submissions.py  the journal as operators read it
"""
