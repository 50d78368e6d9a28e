"""The one door to Stellar: devnet, testnet and mainnet alike.

entries.py     ledger keys, and what the entries under them say     (pure)
building.py    calls, operations, fees, signatures -> Prepared      (pure)
decoding.py    result codes and diagnostic events -> typed errors   (pure)
destinations.py  where money goes, and the memo with it          (pure)
records.py     what goes into and comes out of the chain: plain data
rpc.py         JSON-RPC: one request, one answer, one error
servers.py     RpcServers: several as one
gathering.py   reads of entries that are wanted at the same time, as one request
reader.py      ChainReader: farm, blocks, pails, accounts, fees, ledgers
relayer.py     Relayer: Stellar Channels, which pays for what it carries
submitting.py  Submitter: send, follow, look up
past.py         what a transaction was to do, by its envelope    (pure)
past_reader.py  PastReader: what a ledger took of some accounts
alike.py       Examples: one simulation for all works of a block
purses.py      maximum fees of what is pending, by payer          (pure)
client.py      Chain: prepare, plan harvests, retry until the deadline
deposits.py     what somebody's own wallet signs: a deposit, a trustline
channels.py    Channels: which of the pool's accounts carries what

`async with Chain.of(settings) as chain: farm = await chain.read_farm()`. Who only reads takes ChainReader.
"""

from __future__ import annotations

from kalepool.chain.alike import PailToWork
from kalepool.chain.building import claimable_id
from kalepool.chain.channels import Channels
from kalepool.chain.client import Chain, Foreseen, may_retry
from kalepool.chain.deposits import deposit_envelope, send_deposit, send_trustline, trustline_envelope
from kalepool.chain.destinations import Destination, require_destination
from kalepool.chain.past import PastPart, PastTransaction, envelope_hash
from kalepool.chain.past_reader import Charge
from kalepool.chain.reader import ChainReader
from kalepool.chain.records import (
    BASE_RESERVE_STROOPS,
    CLAIMABLE_RESERVE_STROOPS,
    Account,
    Farm,
    FeeBids,
    Fees,
    HarvestPlan,
    HeldAndPlanted,
    Ledger,
    Limits,
    Outcome,
    Payee,
    Prepared,
    Receiver,
    RpcHealth,
    Share,
    Signer,
    Status,
)
from kalepool.chain.submitting import expired

__all__ = [
    "BASE_RESERVE_STROOPS",
    "CLAIMABLE_RESERVE_STROOPS",
    "Account",
    "Chain",
    "ChainReader",
    "Channels",
    "Charge",
    "Destination",
    "Farm",
    "FeeBids",
    "Fees",
    "Foreseen",
    "HarvestPlan",
    "HeldAndPlanted",
    "Ledger",
    "Limits",
    "Outcome",
    "PailToWork",
    "PastPart",
    "PastTransaction",
    "Payee",
    "Prepared",
    "Receiver",
    "RpcHealth",
    "Share",
    "Signer",
    "Status",
    "claimable_id",
    "deposit_envelope",
    "envelope_hash",
    "expired",
    "may_retry",
    "require_destination",
    "send_deposit",
    "send_trustline",
    "trustline_envelope",
]
