"""Ledger keys and what the entries under them say. Pure: nothing here asks the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from stellar_sdk import Address, Asset, Keypair, LiquidityPoolAsset, StrKey, scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.chain.records import BASE_RESERVE_STROOPS, Account, Limits, Payee
from kalepool.protocol.model import FARM_BLOCK, FARM_INDEX, FARM_PAUSED, Block, Key, Pail, block_key, pail_key

MAX_KEYS = 200
"""Keys one getLedgerEntries takes."""

MOST_HELD = 2**127 - 1
"""Stroops that an asset's contract can keep for a contract."""

Contents = dict[str, stellar_xdr.LedgerEntryData]
"""Entries by their base64 key, as getLedgerEntries names them."""


def contract_key(contract_id: str, key: Key[Any]) -> str:
    """The base64 ledger key of a temporary contract entry, as Block or Pail."""
    parts = [scval.to_symbol(key.name)]
    parts += [scval.to_address(arg) if isinstance(arg, str) else scval.to_uint32(arg) for arg in key.args]
    return _data_key(contract_id, scval.to_vec(parts), stellar_xdr.ContractDataDurability.TEMPORARY)


@lru_cache(maxsize=8)
def instance_key(contract_id: str) -> str:
    """The base64 ledger key of a contract's instance, which holds FarmIndex, FarmBlock and FarmPaused."""
    key = stellar_xdr.SCVal(stellar_xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)
    return _data_key(contract_id, key, stellar_xdr.ContractDataDurability.PERSISTENT)


def block_entry_key(contract_id: str, index: int) -> str:
    return contract_key(contract_id, block_key(index))


def pail_entry_key(contract_id: str, farmer: str, index: int) -> str:
    return contract_key(contract_id, pail_key(farmer, index))


def account_key(address: str) -> str:
    account = stellar_xdr.LedgerKeyAccount(Keypair.from_public_key(address).xdr_account_id())
    return stellar_xdr.LedgerKey(stellar_xdr.LedgerEntryType.ACCOUNT, account=account).to_xdr()


def trustline_key(address: str, asset: Asset) -> str:
    trustline = stellar_xdr.LedgerKeyTrustLine(
        Keypair.from_public_key(address).xdr_account_id(), asset.to_trust_line_asset_xdr_object()
    )
    return stellar_xdr.LedgerKey(stellar_xdr.LedgerEntryType.TRUSTLINE, trust_line=trustline).to_xdr()


def data_key(address: str, name: str) -> str:
    """Of a named value that an account has put on the ledger."""
    data = stellar_xdr.LedgerKeyData(
        Keypair.from_public_key(address).xdr_account_id(), stellar_xdr.String64(name.encode())
    )
    return stellar_xdr.LedgerKey(stellar_xdr.LedgerEntryType.DATA, data=data).to_xdr()


def claimable_key(balance_id: bytes) -> str:
    """The base64 ledger key of a claimable balance."""
    identity = stellar_xdr.ClaimableBalanceID(
        stellar_xdr.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0, v0=stellar_xdr.Hash(balance_id)
    )
    key = stellar_xdr.LedgerKeyClaimableBalance(identity)
    return stellar_xdr.LedgerKey(stellar_xdr.LedgerEntryType.CLAIMABLE_BALANCE, claimable_balance=key).to_xdr()


def holding_key(asset_contract_id: str, contract: str) -> str:
    """Of what an asset's contract keeps for a contract (C…), as trustlines do for accounts."""
    key = scval.to_vec([scval.to_symbol("Balance"), scval.to_address(contract)])
    return _data_key(asset_contract_id, key, stellar_xdr.ContractDataDurability.PERSISTENT)


def holding(entry: stellar_xdr.LedgerEntryData) -> int:
    """The stroops of such an entry."""
    assert entry.contract_data is not None
    fields: Any = scval.to_native(entry.contract_data.val)
    return fields["amount"]


def data_value(entry: stellar_xdr.LedgerEntryData) -> bytes:
    assert entry.data is not None
    return entry.data.data_value.data_value


def payee(
    account: stellar_xdr.LedgerEntryData | None,
    line: stellar_xdr.LedgerEntryData | None,
    memo: stellar_xdr.LedgerEntryData | None,
) -> Payee:
    """What an account can be paid, by its entry, its trustline and its word on memos."""
    if account is None or line is None or line.trust_line is None:
        return Payee(exists=account is not None, trusts=False)
    found = line.trust_line
    buying = found.ext.v1.liabilities.buying.int64 if found.ext.v1 is not None else 0
    return Payee(
        exists=True,
        trusts=True,
        authorised=bool(found.flags.uint32 & 1),
        room_stroops=max(found.limit.int64 - found.balance.int64 - buying, 0),
        memo_required=memo is not None and data_value(memo) == b"1",
    )


def contract_payee(instance: stellar_xdr.LedgerEntryData | None, kept: stellar_xdr.LedgerEntryData | None) -> Payee:
    """What a contract can be paid, by its instance and what the asset's contract keeps for it. That has no limit, and
    begins with the first payment."""
    fields: Any = scval.to_native(kept.contract_data.val) if kept is not None and kept.contract_data is not None else {}
    is_there = instance is not None
    authorised = bool(fields.get("authorized", True))
    return Payee(is_there, trusts=is_there, authorised=authorised, room_stroops=MOST_HELD - fields.get("amount", 0))


def limit_keys() -> list[str]:
    """Keys of the network settings that limit one contract call, and of how fast its ledgers are to be."""
    ids = stellar_xdr.ConfigSettingID
    settings = (
        ids.CONFIG_SETTING_CONTRACT_COMPUTE_V0,
        ids.CONFIG_SETTING_CONTRACT_LEDGER_COST_V0,
        ids.CONFIG_SETTING_CONTRACT_LEDGER_COST_EXT_V0,
        ids.CONFIG_SETTING_CONTRACT_EVENTS_V0,
        ids.CONFIG_SETTING_STATE_ARCHIVAL,
        ids.CONFIG_SETTING_SCP_TIMING,
    )
    return [
        stellar_xdr.LedgerKey(
            stellar_xdr.LedgerEntryType.CONFIG_SETTING, config_setting=stellar_xdr.LedgerKeyConfigSetting(setting)
        ).to_xdr()
        for setting in settings
    ]


def limits(entries: Iterable[stellar_xdr.LedgerEntryData]) -> Limits:
    """What one contract call may use, by the settings among `entries`; defaults for those that are absent."""
    found: dict[str, Any] = {}
    for entry in entries:
        if (setting := entry.config_setting) is None:
            continue
        if (compute := setting.contract_compute) is not None:
            found["instructions"] = compute.tx_max_instructions.int64
        if (cost := setting.contract_ledger_cost) is not None:
            found["write_entries"] = cost.tx_max_write_ledger_entries.uint32
            found["write_bytes"] = cost.tx_max_write_bytes.uint32
        if (ext := setting.contract_ledger_cost_ext) is not None:
            found["footprint_entries"] = ext.tx_max_footprint_entries.uint32
        if (events := setting.contract_events) is not None:
            found["events_bytes"] = events.tx_max_contract_events_size_bytes.uint32
        if (archival := setting.state_archival_settings) is not None:
            found["temporary_ttl"] = archival.min_temporary_ttl.uint32
        if (timing := setting.contract_scp_timing) is not None:
            found["ledger_seconds"] = timing.ledger_target_close_time_milliseconds.uint32 / 1000 or None
    return Limits(**found)


def farm_state(instance: stellar_xdr.LedgerEntryData) -> tuple[int | None, Block | None, bool]:
    """(FarmIndex, FarmBlock, FarmPaused) of the contract's instance.

    An absent FarmIndex reads as 0, and as None where there is no FarmBlock either: then the contract was never set up.
    """
    assert instance.contract_data is not None
    value = instance.contract_data.val
    if value.instance is None:
        raise ValueError("the entry is not a contract instance")
    stored: dict[str, Any] = {}
    for item in value.instance.storage.sc_map if value.instance.storage else ():
        name = scval.to_native(item.key)
        stored[name[0] if isinstance(name, list) else str(name)] = item.val
    farm_block = _block(stored[FARM_BLOCK.name]) if FARM_BLOCK.name in stored else None
    index = scval.from_uint32(stored[FARM_INDEX.name]) if FARM_INDEX.name in stored else None
    if index is None and farm_block is not None:
        index = 0
    paused = scval.from_bool(stored[FARM_PAUSED.name]) if FARM_PAUSED.name in stored else False
    return index, farm_block, paused


def contract_wasm(instance: stellar_xdr.LedgerEntryData) -> str | None:
    """SHA-256 of the code of a contract's instance, in hex; None for one that has none of its own."""
    assert instance.contract_data is not None
    assert instance.contract_data.val.instance is not None
    code = instance.contract_data.val.instance.executable.wasm_hash
    return None if code is None else code.hash.hex()


def block(entry: stellar_xdr.LedgerEntryData) -> Block:
    assert entry.contract_data is not None
    return _block(entry.contract_data.val)


def pail(entry: stellar_xdr.LedgerEntryData) -> Pail:
    assert entry.contract_data is not None
    fields: dict[str, Any] = scval.to_native(entry.contract_data.val)  # pyright: ignore[reportAssignmentType]
    return Pail(sequence=fields["sequence"], gap=fields["gap"], stake=fields["stake"], zeros=fields["zeros"])


def liquidity_pool_key(asset: Asset) -> str:
    """The base64 ledger key of the constant product pool of XLM and this asset."""
    pool = LiquidityPoolAsset(Asset.native(), asset)
    key = stellar_xdr.LedgerKeyLiquidityPool(
        stellar_xdr.PoolID(stellar_xdr.Hash(bytes.fromhex(pool.liquidity_pool_id)))
    )
    return stellar_xdr.LedgerKey(stellar_xdr.LedgerEntryType.LIQUIDITY_POOL, liquidity_pool=key).to_xdr()


def pool_price(entry: stellar_xdr.LedgerEntryData) -> float | None:
    """XLM for one of the other asset, by the reserves of a pool that has XLM first. None where it is empty."""
    assert entry.liquidity_pool is not None
    pool = entry.liquidity_pool.body.constant_product
    assert pool is not None
    native, other = pool.reserve_a.int64, pool.reserve_b.int64
    return native / other if native > 0 and other > 0 else None


def account(entry: stellar_xdr.LedgerEntryData, trustline: stellar_xdr.LedgerEntryData | None) -> Account:
    """An account by its entry and that of its KALE trustline.

    Reserve: (2 + subentries + sponsoring − sponsored) · base reserve (developers.stellar.org, "Minimum balance").
    """
    found = entry.account
    assert found is not None
    selling = sponsored = sponsoring = 0
    if (v1 := found.ext.v1) is not None:
        selling = v1.liabilities.selling.int64
        if (v2 := v1.ext.v2) is not None:
            sponsored, sponsoring = v2.num_sponsored.uint32, v2.num_sponsoring.uint32
    subentries = found.num_sub_entries.uint32
    reserve = (2 + subentries + sponsoring - sponsored) * BASE_RESERVE_STROOPS
    native = found.balance.int64
    return Account(
        address=StrKey.encode_ed25519_public_key(found.account_id.account_id.ed25519.uint256),  # pyright: ignore[reportOptionalMemberAccess]
        sequence=found.seq_num.sequence_number.int64,
        native_stroops=native,
        spendable_stroops=max(native - selling - reserve, 0),
        kale_stroops=None if trustline is None else trustline.trust_line.balance.int64,  # pyright: ignore[reportOptionalMemberAccess]
        subentries=subentries,
        kale_limit_stroops=None if trustline is None else trustline.trust_line.limit.int64,  # pyright: ignore[reportOptionalMemberAccess]
        sponsoring=sponsoring,
        sponsored=sponsored,
    )


def signers(entry: stellar_xdr.LedgerEntryData) -> tuple[int, dict[str, int]]:
    """Who signs for an account: its medium threshold, and the weight of each key (only ed25519 keys, none of 0)."""
    found = entry.account
    assert found is not None
    master, _, medium, _ = found.thresholds.thresholds
    weights = {StrKey.encode_ed25519_public_key(found.account_id.account_id.ed25519.uint256): master}  # pyright: ignore[reportOptionalMemberAccess]
    for signer in found.signers:
        if signer.key.ed25519 is not None:
            weights[StrKey.encode_ed25519_public_key(signer.key.ed25519.uint256)] = signer.weight.uint32
    return medium, {key: weight for key, weight in weights.items() if weight}


def batches(keys: Sequence[str], size: int = MAX_KEYS) -> list[Sequence[str]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _block(value: stellar_xdr.SCVal) -> Block:
    fields: dict[str, Any] = scval.to_native(value)  # pyright: ignore[reportAssignmentType]
    return Block(**{name: fields[name] for name in Block.__dataclass_fields__})


def _data_key(contract_id: str, key: stellar_xdr.SCVal, durability: stellar_xdr.ContractDataDurability) -> str:
    data = stellar_xdr.LedgerKeyContractData(Address(contract_id).to_xdr_sc_address(), key, durability)
    return stellar_xdr.LedgerKey(stellar_xdr.LedgerEntryType.CONTRACT_DATA, contract_data=data).to_xdr()
