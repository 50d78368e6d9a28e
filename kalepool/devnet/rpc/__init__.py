"""The way in: an HTTP server with friendbot, faults and JSON-RPC, which answers as stellar-rpc does.

methods.py               the table of methods by name
get_events.py            getEvents
get_fee_stats.py         getFeeStats
get_health.py            getHealth
get_latest_ledger.py     getLatestLedger
get_ledger_entries.py    getLedgerEntries
get_ledgers.py           getLedgers
get_network.py           getNetwork
get_transaction.py       getTransaction
get_transactions.py      getTransactions
get_version_info.py      getVersionInfo
send_transaction.py      sendTransaction
simulate_transaction.py  simulateTransaction
json_rpc.py              requests read and answered, as JSON-RPC asks
cross_origin.py          requests of web pages
http_server.py           the routes, and serving a node until a block ends
params.py                a method's parameters, read as Go reads them
pagination.py            start ledger, cursor and limit of getTransactions and getLedgers
xdr_json.py              answers with XDR as JSON
rpc_errors.py            error answers and their codes
"""
