"""A Stellar network of one node on loopback: ledger, KALE's contracts, JSON-RPC and friendbot."""
