"""Soroban: the network's contracts, in Python, and the host that runs them on a view of the ledger.

invoke.py            operations applied with what the transaction declares
simulation.py        operations simulated: what they would need, cost and change
kale_contract.py     the KALE contract: `kalepool.protocol` decides, this stores and speaks XDR
kale_state.py        the farm and the pails as the ledger holds them, read without a transaction
tractor_contract.py  many pails harvested in one transaction
account_contract.py  a contract account of one key
web_auth_contract.py  who signs in with one (SEP-45)
creation.py          contracts made of code that is there
asset_contract.py    the Stellar asset contract: an asset's balances behind a token interface
asset_balances.py    those balances: of accounts and of contracts, authorised and clawed back
asset_allowances.py  what somebody may spend of another's balance
asset_errors.py      the asset contract's errors
host.py              one transaction's calls: footprint, storage, events, lifetimes, what was used
authorisation.py     who authorised which calls: enforced, or recorded by a simulation
scv.py               packed ScVals read into plain values and into text
wasm.py              the modules behind the contract ids, with the specification of their functions
config_settings.py   the network's settings as ledger entries, for clients that ask
"""
