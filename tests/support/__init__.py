"""What tests and benchmarks are built from.

hooks.py         webhooks of a farm under test: made, and sent to at once
installed.py     the built wheel in an environment of its own, and its program on a data folder
channels_cases.py  calls of Stellar Channels, and how the real plugin is asked them
core_cases.py    what stellar-core does with operations, as data, and the world it is asked in
ray_nodes.py     a Ray of several nodes on this machine, and a node's death
command_line.py  a command of the program in this process
seasoned.py      a pool with a past and a present, for what shows it
browsing.py      the page in a real Chromium, and axe's word on what it shows
axe/             axe-core, as its makers published it
browser.py       a browser without a script: cookies and forms
wallet_extension.py  a wallet in a browser, as pages meet it
receiver.py      a program of somebody's that receives webhooks
served.py        the API as `kalepool api` runs it, in this process and on a real port
money_proof.py   what miners must have received, by the network's transactions and the share logs alone
ports.py         ports for processes that tests start
pace.py          how fast this machine is just now, for bounds of time
pool.py          a whole pool in a folder of its own: the processes that `kalepool up` would start
thread_fleet.py  workers that are threads of this process instead of Ray actors
rpc_fronts.py    several RPC servers in front of one devnet, each with faults of its own
pocl.py          OpenCL without a card: PoCL as the card of this process
node.py          the search in WebAssembly as a backend: Node runs it
random_searches.py  searches at random that two backends have to agree on
backwards.py     Keccak run backwards: digests that no search would meet
"""

from __future__ import annotations
