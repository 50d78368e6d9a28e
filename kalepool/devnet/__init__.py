"""A Stellar network of one node on loopback: ledger, KALE's contracts, JSON-RPC and friendbot.

A file imports only what stands below it here; so `soroban` is built on `ledger`, which knows nothing of it.

serve.py       the devnet as a process: it serves until a signal comes
testing.py     a devnet inside a test's own event loop
rpc/           the way in: HTTP server and JSON-RPC methods
rivals.py      farmers of the network's own, so that blocks have other participants
channels_plugin.py  Stellar Channels: transactions of others, paid for
friendbot.py   XLM and KALE for the asking
wallet.py      how friendbot and the rivals send transactions
recordings.py  recorded contract calls and hashes, replayed through the devnet's host
node.py        joins ledger, contracts, store and faults, and closes ledgers on the clock
faults.py      what goes wrong on demand
genesis.py     the first ledger, its accounts and the contracts behind its ids
soroban/       contracts, the host they run in, authorisation, simulation
ledger/        accounts and entries, classic transactions, queue, closing of ledgers, history on disk
settings.py    limits, prices and lifetimes of the network, as testnet has them
wire.py        XDR bytes of the values the devnet makes itself
"""
