"""What a new devnet starts with: XLM, the KALE asset, its contracts, and friendbot's accounts."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from stellar_sdk import Keypair

from kalepool.devnet import wire
from kalepool.devnet.ledger.closing import asset_contract_id
from kalepool.devnet.ledger.ledger_entries import AccountEntry, ContractCode, ContractData, Data, LedgerEntry
from kalepool.devnet.ledger.meta import Header
from kalepool.devnet.settings import MAX_ENTRY_TTL, PROTOCOL_VERSION
from kalepool.devnet.soroban.account_contract import AccountContract
from kalepool.devnet.soroban.asset_contract import AssetContract, pack_asset_instance
from kalepool.devnet.soroban.host import Contracts
from kalepool.devnet.soroban.kale_contract import KaleContract, pack_instance
from kalepool.devnet.soroban.tractor_contract import Tractor, pack_tractor_instance
from kalepool.devnet.soroban.wasm import ACCOUNT_CODE, KALE_CODE, TRACTOR_CODE, WEB_AUTH_CODE
from kalepool.devnet.soroban.web_auth_contract import WebAuthContract
from kalepool.networks import DEVNET, Network
from kalepool.protocol.lifecycle import new_farm_block
from kalepool.protocol.model import FARM_BLOCK, HOMESTEAD_ASSET, HOMESTEADER

GENESIS_SEQUENCE = 1
TOTAL_COINS = 1_000_000_000_000_000_000
"""Stroops of XLM in existence: 100 billion XLM."""
FRIENDBOT_MINIONS = 32
_FRIENDBOT_BALANCE = TOTAL_COINS // 2
_MINION_BALANCE = 10_000 * 10_000_000
_ISSUER_BALANCE = 1_000 * 10_000_000
_NULL_KEY = bytes(32)
"""GAAA…WHF: whom SDKs name as the source of what they only simulate. Nobody has its key."""
_NULL_BALANCE = 1_000 * 10_000_000


def derived_keypair(network: Network, name: str) -> Keypair:
    """A key every devnet has: its seed is the hash of the passphrase and a name. Worth nothing anywhere else."""
    return Keypair.from_raw_ed25519_seed(sha256(f"{network.passphrase} / {name}".encode()).digest())


def root_keypair(network: Network) -> Keypair:
    """The network's master account, as on every Stellar network: the passphrase's hash is its seed."""
    return Keypair.from_raw_ed25519_seed(sha256(network.passphrase.encode()).digest())


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first ledger."""

    header: Header
    entries: dict[bytes, LedgerEntry]


def contracts(block_seconds: int, network: Network = DEVNET) -> Contracts:
    """The code behind the devnet's contract ids, by raw hash."""
    assert network.tractor_id is not None and network.web_auth_id is not None
    issuer = wire.account_key(network.asset_issuer)
    kale = wire.contract_hash(network.contract_id)
    native = asset_contract_id(sha256(network.passphrase.encode()).digest(), wire.ASSET_NATIVE)
    return {
        kale: KaleContract(sha256(KALE_CODE).digest(), block_seconds),
        wire.contract_hash(network.tractor_id): Tractor(sha256(TRACTOR_CODE).digest(), kale),
        wire.contract_hash(network.asset_contract_id): AssetContract(network.asset_code, issuer),
        native: AssetContract(),
        wire.contract_hash(network.web_auth_id): WebAuthContract(sha256(WEB_AUTH_CODE).digest()),
        sha256(ACCOUNT_CODE).digest(): AccountContract(sha256(ACCOUNT_CODE).digest()),
    }


def genesis(close_time: int, capacity: int, network: Network = DEVNET) -> Genesis:
    """The first ledger, closed at a unix time; the KALE contract is deployed in it, its owner the asset's issuer."""
    assert network.tractor_id is not None
    issuer = wire.account_key(network.asset_issuer)
    friendbot = derived_keypair(network, "friendbot").raw_public_key()
    minions = [derived_keypair(network, f"friendbot {n}").raw_public_key() for n in range(FRIENDBOT_MINIONS)]
    sequence = GENESIS_SEQUENCE << 32
    funded = [(friendbot, _FRIENDBOT_BALANCE), (issuer, _ISSUER_BALANCE), (_NULL_KEY, _NULL_BALANCE)]
    funded += [(key, _MINION_BALANCE) for key in minions]
    rest = TOTAL_COINS - sum(balance for _, balance in funded)
    data: list[Data] = [AccountEntry(key, balance, sequence) for key, balance in funded]
    data.append(AccountEntry(root_keypair(network).raw_public_key(), rest, sequence))
    entries = {item.ledger_key: LedgerEntry(item, GENESIS_SEQUENCE) for item in data}
    for item in _contract_entries(network, close_time):
        entries[item.ledger_key] = LedgerEntry(item, GENESIS_SEQUENCE, GENESIS_SEQUENCE + MAX_ENTRY_TTL - 1)
    header = Header(
        sequence=GENESIS_SEQUENCE,
        close_time=close_time,
        version=PROTOCOL_VERSION,
        previous_hash=wire.HASH_ZERO,
        transaction_set_hash=wire.HASH_ZERO,
        result_hash=wire.HASH_ZERO,
        state_hash=wire.HASH_ZERO,
        fee_pool=0,
        total_coins=TOTAL_COINS,
        max_transactions=capacity,
    )
    return Genesis(header, entries)


def _contract_entries(network: Network, close_time: int) -> list[Data]:
    assert network.tractor_id is not None and network.web_auth_id is not None
    kale = wire.contract_hash(network.contract_id)
    asset = wire.contract_hash(network.asset_contract_id)
    native = asset_contract_id(sha256(network.passphrase.encode()).digest(), wire.ASSET_NATIVE)
    storage = {
        HOMESTEADER.name: network.asset_issuer,
        HOMESTEAD_ASSET.name: network.asset_contract_id,
        FARM_BLOCK.name: new_farm_block(close_time),
    }
    code = wire.executable_wasm(sha256(KALE_CODE).digest())
    kale_asset = AssetContract(network.asset_code, wire.account_key(network.asset_issuer))
    return [
        ContractCode(KALE_CODE),
        ContractCode(TRACTOR_CODE),
        ContractCode(ACCOUNT_CODE),
        ContractCode(WEB_AUTH_CODE),
        _web_auth_instance(wire.contract_hash(network.web_auth_id)),
        pack_instance(kale, code, storage),
        pack_tractor_instance(wire.contract_hash(network.tractor_id), sha256(TRACTOR_CODE).digest(), kale),
        pack_asset_instance(asset, kale_asset, network.contract_id),
        pack_asset_instance(native, AssetContract(), None),
    ]


def _web_auth_instance(contract: bytes) -> ContractData:
    value = wire.sc_instance(wire.executable_wasm(sha256(WEB_AUTH_CODE).digest()), None)
    return ContractData(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT, value)
