"""The KALE contract's state as the devnet's ledger holds it, read without a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from kalepool.devnet import wire
from kalepool.devnet.ledger.closing import DevnetLedger
from kalepool.devnet.ledger.ledger_entries import ContractData
from kalepool.devnet.soroban.host import instance_key
from kalepool.devnet.soroban.kale_contract import decode_value, pack_key, read_instance
from kalepool.networks import DEVNET
from kalepool.protocol.model import FARM_BLOCK, FARM_INDEX, Block, Key, Pail, block_key, pail_key

T = TypeVar("T")

_KALE = wire.contract_hash(DEVNET.contract_id)


@dataclass(frozen=True, slots=True)
class FarmState:
    """The farm after the last ledger: its index, what it collects for the next block, and the present block."""

    index: int
    farm_block: Block
    block: Block | None


def read_farm(ledger: DevnetLedger) -> FarmState:
    entry = ledger.entries[instance_key(_KALE)]
    assert isinstance(entry.data, ContractData)
    instance = read_instance(entry.data)
    index = instance.get(FARM_INDEX.name, 0)
    return FarmState(index, instance[FARM_BLOCK.name], _read(ledger, block_key(index)))


def read_pail(ledger: DevnetLedger, farmer: str, index: int) -> Pail | None:
    return _read(ledger, pail_key(farmer, index))


def _read(ledger: DevnetLedger, key: Key[T]) -> T | None:
    entry = ledger.entries.get(wire.key_contract_data(wire.ONE + _KALE, pack_key(key), wire.TEMPORARY))
    if entry is None or not isinstance(entry.data, ContractData) or entry.has_expired(ledger.header.sequence):
        return None
    return entry.data.native if entry.data.native is not None else decode_value(key.name, entry.data.value)
