"""The way in: an HTTP server with friendbot, faults and JSON-RPC, which answers as stellar-rpc does.

Every method is one file with its name in snake case (`getEvents` in `get_events`); beside them:

    http_server   the routes, and serving a node until a block ends
    methods       the table of methods by name
    params        a method's parameters, read as Go reads them
    pagination    start ledger, cursor and limit of getTransactions and getLedgers
    xdr_json      answers with XDR as JSON
    rpc_errors    error answers and their codes
"""
