"""Soroban: the network's contracts, in Python, and the host that runs them on a view of the ledger.

invoke             operations applied with what the transaction declares
simulation         operations simulated: what they would need, cost and change
kale_contract      the KALE contract: `kalepool.protocol` decides, this stores and speaks XDR
kale_state         the farm and the pails as the ledger holds them, read without a transaction
tractor_contract   many pails harvested in one transaction
asset_contract     the Stellar asset contract: an asset's balances behind a token interface
host               one transaction's calls: footprint, storage, events, lifetimes, what was used
authorisation      who authorised which calls: enforced, or recorded by a simulation
scv                packed ScVals read into plain values and into text
wasm               the modules behind the contract ids, with the specification of their functions
config_settings    the network's settings as ledger entries, for clients that ask
"""
