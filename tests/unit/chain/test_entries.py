"""Ledger entries are read as the contract and the network write them."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Asset, Keypair, scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.chain import entries
from kalepool.networks import MAINNET
from kalepool.protocol.model import I128_MAX, I128_MIN, U32_MAX, U64_MAX, Block, Pail

ASSET = Asset(MAINNET.asset_code, MAINNET.asset_issuer)

u32 = st.integers(0, U32_MAX)
i128 = st.integers(I128_MIN, I128_MAX)
blocks = st.builds(
    Block,
    timestamp=st.integers(0, U64_MAX),
    min_gap=u32,
    min_stake=i128,
    min_zeros=u32,
    max_gap=u32,
    max_stake=i128,
    max_zeros=u32,
    entropy=st.binary(min_size=32, max_size=32),
    staked_total=i128,
    normalized_total=i128,
)
FARMER = "GDYBFWMUMLEQY5URG7Q62ZETJZWREL6VIWEMPFL3YATYX4NNYYSUVGZG"
CONTRACT = MAINNET.contract_id


def block_value(block: Block) -> stellar_xdr.SCVal:
    wide = {"min_stake", "max_stake", "staked_total", "normalized_total"}

    def value(name: str) -> stellar_xdr.SCVal:
        found = getattr(block, name)
        if name == "entropy":
            return scval.to_bytes(found)
        if name == "timestamp":
            return scval.to_uint64(found)
        return scval.to_int128(found) if name in wide else scval.to_uint32(found)

    return scval.to_struct({name: value(name) for name in Block.__dataclass_fields__})


def data_entry(key: stellar_xdr.SCVal, value: stellar_xdr.SCVal) -> stellar_xdr.LedgerEntryData:
    entry = stellar_xdr.ContractDataEntry(
        stellar_xdr.ExtensionPoint(0),
        stellar_xdr.LedgerKey.from_xdr(entries.instance_key(CONTRACT)).contract_data.contract,  # pyright: ignore
        key,
        stellar_xdr.ContractDataDurability.TEMPORARY,
        value,
    )
    return stellar_xdr.LedgerEntryData(stellar_xdr.LedgerEntryType.CONTRACT_DATA, contract_data=entry)


def instance(stored: dict[str, stellar_xdr.SCVal]) -> stellar_xdr.LedgerEntryData:
    items = [
        stellar_xdr.SCMapEntry(scval.to_vec([scval.to_symbol(name)]), value) for name, value in sorted(stored.items())
    ]
    contract = stellar_xdr.SCContractInstance(
        stellar_xdr.ContractExecutable(
            stellar_xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, stellar_xdr.Hash(bytes(32))
        ),
        stellar_xdr.SCMap(items),
    )
    key = stellar_xdr.SCVal(stellar_xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)
    return data_entry(key, stellar_xdr.SCVal(stellar_xdr.SCValType.SCV_CONTRACT_INSTANCE, instance=contract))


@given(blocks)
def test_a_block_is_read_as_written(block: Block):
    entry = data_entry(scval.to_void(), block_value(block))
    assert entries.block(stellar_xdr.LedgerEntryData.from_xdr(entry.to_xdr())) == block


@given(u32, st.none() | u32, i128, st.none() | u32)
def test_a_pail_is_read_as_written(sequence: int, gap: int | None, stake: int, zeros: int | None):
    optional = {
        name: scval.to_void() if value is None else scval.to_uint32(value)
        for name, value in (("gap", gap), ("zeros", zeros))
    }
    written = {"sequence": scval.to_uint32(sequence), "stake": scval.to_int128(stake), **optional}
    entry = data_entry(scval.to_void(), scval.to_struct(written))
    assert entries.pail(entry) == Pail(sequence, gap, stake, zeros)


@given(blocks, st.none() | u32, st.none() | st.booleans())
def test_the_farm_is_read_from_the_instance(block: Block, index: int | None, paused: bool | None):
    stored = {"FarmBlock": block_value(block), "Homesteader": scval.to_address(FARMER)}
    if index is not None:
        stored["FarmIndex"] = scval.to_uint32(index)
    if paused is not None:
        stored["FarmPaused"] = scval.to_bool(paused)
    assert entries.farm_state(instance(stored)) == (index or 0, block, bool(paused))


def test_a_contract_that_was_never_set_up_has_no_index():
    assert entries.farm_state(instance({"Homesteader": scval.to_address(FARMER)})) == (None, None, False)


def test_keys_name_the_entry():
    key = stellar_xdr.LedgerKey.from_xdr(entries.pail_entry_key(CONTRACT, FARMER, 7)).contract_data
    assert key is not None
    assert key.durability == stellar_xdr.ContractDataDurability.TEMPORARY
    name, farmer, index = scval.from_vec(key.key)
    assert (scval.from_symbol(name), scval.from_address(farmer).address, scval.from_uint32(index)) == (
        "Pail",
        FARMER,
        7,
    )


def account_entry(
    address: str, balance: int, subentries: int, selling: int, sponsored: int, sponsoring: int
) -> stellar_xdr.LedgerEntryData:
    v2 = stellar_xdr.AccountEntryExtensionV2(
        stellar_xdr.Uint32(sponsored), stellar_xdr.Uint32(sponsoring), [], stellar_xdr.AccountEntryExtensionV2Ext(0)
    )
    v1 = stellar_xdr.AccountEntryExtensionV1(
        stellar_xdr.Liabilities(stellar_xdr.Int64(0), stellar_xdr.Int64(selling)),
        stellar_xdr.AccountEntryExtensionV1Ext(2, v2),
    )
    entry = stellar_xdr.AccountEntry(
        Keypair.from_public_key(address).xdr_account_id(),
        stellar_xdr.Int64(balance),
        stellar_xdr.SequenceNumber(stellar_xdr.Int64(123)),
        stellar_xdr.Uint32(subentries),
        None,
        stellar_xdr.Uint32(0),
        stellar_xdr.String32(b""),
        stellar_xdr.Thresholds(bytes(4)),
        [],
        stellar_xdr.AccountEntryExt(1, v1),
    )
    return stellar_xdr.LedgerEntryData(stellar_xdr.LedgerEntryType.ACCOUNT, account=entry)


def test_spendable_is_what_reserve_and_liabilities_leave():
    account = entries.account(account_entry(FARMER, 100_000_000, 3, 1_000_000, 1, 2), None)
    assert account.spendable_stroops == 100_000_000 - 1_000_000 - (2 + 3 + 2 - 1) * 5_000_000
    assert (account.address, account.sequence, account.native_stroops, account.subentries) == (
        FARMER,
        123,
        100_000_000,
        3,
    )
    assert account.kale_stroops is None
    assert entries.account(account_entry(FARMER, 9_000_000, 0, 0, 0, 0), None).spendable_stroops == 0


def test_kale_is_the_balance_of_the_trustline_of_its_issuer():
    asset = Asset(MAINNET.asset_code, MAINNET.asset_issuer)
    line = stellar_xdr.TrustLineEntry(
        Keypair.from_public_key(FARMER).xdr_account_id(),
        asset.to_trust_line_asset_xdr_object(),
        stellar_xdr.Int64(77),
        stellar_xdr.Int64(2**63 - 1),
        stellar_xdr.Uint32(1),
        stellar_xdr.TrustLineEntryExt(0),
    )
    entry = stellar_xdr.LedgerEntryData(stellar_xdr.LedgerEntryType.TRUSTLINE, trust_line=line)
    assert entries.account(account_entry(FARMER, 1, 1, 0, 0, 0), entry).kale_stroops == 77
    other = entries.trustline_key(FARMER, Asset("KALE", FARMER))
    assert entries.trustline_key(FARMER, asset) != other


@given(st.integers(0, 1000))
def test_batches_hold_every_key_once(count: int):
    keys = [str(number) for number in range(count)]
    batches = entries.batches(keys)
    assert [key for batch in batches for key in batch] == keys
    assert all(0 < len(batch) <= 200 for batch in batches)


def liquidity_pool(native: int, kale: int) -> stellar_xdr.LedgerEntryData:
    """As the ledger has it: XLM is the first of the two."""
    fee = stellar_xdr.Int32(30)
    parameters = stellar_xdr.LiquidityPoolConstantProductParameters(
        Asset.native().to_xdr_object(), ASSET.to_xdr_object(), fee
    )
    product = stellar_xdr.LiquidityPoolEntryConstantProduct(
        parameters, *(stellar_xdr.Int64(amount) for amount in (native, kale, 10**9, 5))
    )
    body = stellar_xdr.LiquidityPoolEntryBody(
        stellar_xdr.LiquidityPoolType.LIQUIDITY_POOL_CONSTANT_PRODUCT, constant_product=product
    )
    key = stellar_xdr.LedgerKey.from_xdr(entries.liquidity_pool_key(ASSET)).liquidity_pool
    assert key is not None
    entry = stellar_xdr.LiquidityPoolEntry(key.liquidity_pool_id, body)
    made = stellar_xdr.LedgerEntryData(stellar_xdr.LedgerEntryType.LIQUIDITY_POOL, liquidity_pool=entry)
    return stellar_xdr.LedgerEntryData.from_xdr(made.to_xdr())


def test_the_price_of_a_kale_is_that_of_the_pools_reserves() -> None:
    key = stellar_xdr.LedgerKey.from_xdr(entries.liquidity_pool_key(ASSET)).liquidity_pool
    assert key is not None
    parameters = stellar_xdr.LiquidityPoolParameters(
        stellar_xdr.LiquidityPoolType.LIQUIDITY_POOL_CONSTANT_PRODUCT,
        liquidity_pool(1, 1).liquidity_pool.body.constant_product.params,  # pyright: ignore[reportOptionalMemberAccess]
    )
    assert key.liquidity_pool_id.pool_id.hash == hashlib.sha256(parameters.to_xdr_bytes()).digest()
    assert entries.pool_price(liquidity_pool(4_000 * 10**7, 1_000_000 * 10**7)) == 0.004
    assert entries.pool_price(liquidity_pool(0, 10**7)) is None is entries.pool_price(liquidity_pool(10**7, 0))


def test_what_a_contract_can_be_paid() -> None:
    kept = data_entry(
        scval.to_vec([scval.to_symbol("Balance"), scval.to_address(CONTRACT)]),
        scval.to_struct({"amount": scval.to_int128(5), "authorized": scval.to_bool(False)}),
    )
    there = instance({})
    assert not entries.contract_payee(None, None).exists
    fresh = entries.contract_payee(there, None)
    assert fresh.exists and fresh.trusts and fresh.authorised and fresh.room_stroops == entries.MOST_HELD
    frozen = entries.contract_payee(there, kept)
    assert (frozen.authorised, frozen.room_stroops) == (False, entries.MOST_HELD - 5)
