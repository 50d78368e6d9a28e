"""The devnet's own XDR against stellar-sdk's."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Asset, StrKey, scval, xdr

from kalepool.devnet import wire
from kalepool.devnet.genesis import genesis
from kalepool.devnet.ledger.closing import asset_contract_id
from kalepool.devnet.ledger.event_rows import scval_size
from kalepool.devnet.ledger.ledger_entries import (
    AccountEntry,
    ContractCode,
    ContractData,
    LedgerEntry,
    TrustLine,
    unpack_data,
)
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.config_settings import config_settings
from kalepool.devnet.soroban.scv import Val
from kalepool.networks import DEVNET

keys = st.binary(min_size=32, max_size=32)
strkeys = st.one_of(keys.map(StrKey.encode_ed25519_public_key), keys.map(StrKey.encode_contract))
i64s = st.integers(-(2**63), 2**63 - 1)
symbols = st.from_regex(r"[a-zA-Z0-9_]{1,32}", fullmatch=True)


def _pairs() -> st.SearchStrategy[tuple[bytes, xdr.SCVal, Val]]:
    """(our bytes, the SDK's value, the decoded value) of the same thing."""
    leaves = st.one_of(
        st.booleans().map(lambda v: (wire.sc_bool(v), scval.to_bool(v), Val("bool", v))),
        st.integers(0, 2**32 - 1).map(lambda v: (wire.sc_u32(v), scval.to_uint32(v), Val("u32", v))),
        st.integers(0, 2**64 - 1).map(lambda v: (wire.sc_u64(v), scval.to_uint64(v), Val("u64", v))),
        i64s.map(lambda v: (wire.sc_i64(v), scval.to_int64(v), Val("i64", v))),
        st.integers(-(2**127), 2**127 - 1).map(lambda v: (wire.sc_i128(v), scval.to_int128(v), Val("i128", v))),
        st.binary(max_size=70).map(lambda v: (wire.sc_bytes(v), scval.to_bytes(v), Val("bytes", v))),
        st.text(max_size=20).map(lambda v: (wire.sc_string(v), scval.to_string(v), Val("string", v))),
        symbols.map(lambda v: (wire.sc_symbol(v), scval.to_symbol(v), Val("symbol", v))),
        strkeys.map(lambda v: (wire.sc_addr(v), scval.to_address(v), Val("address", v))),
        st.just((wire.SCV_VOID, scval.to_void(), Val("void", None))),
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4).map(
            lambda items: (
                wire.sc_vec([item[0] for item in items]),
                scval.to_vec([item[1] for item in items]),
                Val("vec", [item[2] for item in items]),
            )
        ),
        max_leaves=8,
    )


@given(_pairs())
def test_values_are_packed_as_the_sdk_packs_them_and_read_back(pair: tuple[bytes, xdr.SCVal, Val]) -> None:
    packed, theirs, decoded = pair
    assert packed == theirs.to_xdr_bytes()
    assert scv.decode(packed) == decoded
    assert scval_size(b"abcd" + packed + b"rest", 4) == len(packed)


def test_a_map_is_packed_as_the_sdk_packs_it() -> None:
    ours = wire.sc_map([(wire.sc_symbol("a"), wire.sc_u32(1)), (wire.sc_symbol("b"), wire.SCV_VOID)])
    theirs = scval.to_map({scval.to_symbol("a"): scval.to_uint32(1), scval.to_symbol("b"): scval.to_void()})
    assert ours == theirs.to_xdr_bytes()
    assert scval_size(ours, 0) == len(ours)


@given(
    st.builds(
        AccountEntry,
        key=keys,
        balance=i64s,
        sequence=i64s,
        subentries=st.integers(0, 1000),
        flags=st.integers(0, 15),
        home_domain=st.binary(max_size=32),
        thresholds=st.binary(min_size=4, max_size=4),
        signers=st.lists(st.tuples(keys.map(lambda k: bytes(4) + k), st.integers(0, 255)), max_size=3).map(tuple),
        sequence_ledger=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    )
)
def test_accounts_survive_packing(account: AccountEntry) -> None:
    assert unpack_data(account.pack()) == account
    entry = LedgerEntry(account, 7).pack()
    assert xdr.LedgerEntry.from_xdr_bytes(entry).to_xdr_bytes() == entry
    assert xdr.LedgerKey.from_xdr_bytes(account.ledger_key).to_xdr_bytes() == account.ledger_key


@given(keys, keys, st.from_regex(r"[A-Z0-9]{1,12}", fullmatch=True))
def test_trustlines_and_assets_survive_packing(key: bytes, issuer: bytes, code: str) -> None:
    asset = Asset(code, StrKey.encode_ed25519_public_key(issuer))
    packed = wire.asset_credit(code, issuer)
    assert packed == asset.to_xdr_object().to_xdr_bytes()
    line = TrustLine(key, packed, 5, 2**63 - 1)
    assert unpack_data(line.pack()) == line
    network_id = sha256(DEVNET.passphrase.encode()).digest()
    assert wire.contract_strkey(asset_contract_id(network_id, packed)) == asset.contract_id(DEVNET.passphrase)


def test_contract_entries_survive_packing() -> None:
    key = wire.sc_vec([wire.sc_symbol("Block"), wire.sc_u32(4)])
    for data in (ContractData(wire.ONE + bytes(32), key, wire.TEMPORARY, wire.sc_i128(-1)), ContractCode(b"\0asm1")):
        assert unpack_data(data.pack()) == data
        entry = LedgerEntry(data, 7, 9).pack()
        assert xdr.LedgerEntry.from_xdr_bytes(entry).to_xdr_bytes() == entry


def test_genesis_and_settings_are_entries_of_the_network() -> None:
    first = genesis(1_000_000, 100)
    for key, entry in (first.entries | config_settings()).items():
        assert xdr.LedgerEntry.from_xdr_bytes(entry.pack()).to_xdr_bytes() == entry.pack()
        assert xdr.LedgerKey.from_xdr_bytes(key).to_xdr_bytes() == key
    assert xdr.LedgerHeader.from_xdr_bytes(first.header.pack()).to_xdr_bytes() == first.header.pack()
    lumens = sum(entry.data.balance for entry in first.entries.values() if isinstance(entry.data, AccountEntry))
    assert lumens == first.header.total_coins
