"""What the ledgers say: every transaction that a network has applied, read from its RPC server with stellar-sdk alone.

What a transaction did is taken from the changes of ledger entries in its meta, not from what it was meant to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stellar_sdk import Asset, Keypair, MuxedAccount, SorobanServer, scval, xdr
from stellar_sdk.soroban_rpc import Transaction

PAGE = 200

Pail = tuple[str, int]
"""A farmer's wallet, and the block."""


@dataclass(frozen=True, slots=True)
class PailState:
    """A pail's value on the ledger. `stake` in stroops; gap in ledgers."""

    stake: int
    gap: int | None
    zeros: int | None


@dataclass(frozen=True, slots=True)
class PailChange:
    """What a transaction did to a pail: made it (`before` is None), worked it, or took it off (`after` is None)."""

    pail: Pail
    before: PailState | None
    after: PailState | None


@dataclass(slots=True)
class LedgerTransaction:
    """A transaction that a ledger took. Amounts in stroops; `fee` is what was charged in the end, to `fee_source`.

    `meant`: the pails it was to change, whether it did or not. `kale`, `xlm`: what it moved, by account, fees apart.
    """

    hash: str
    inner_hash: str | None
    ledger: int
    closed_at: int
    applied: bool
    fee: int
    fee_source: str
    source: str
    sequence: int
    operation: str
    nonce: int | None
    meant: tuple[Pail, ...]
    sources: frozenset[str]
    changes: list[PailChange] = field(default_factory=list)
    kale: dict[str, int] = field(default_factory=dict)
    xlm: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's balances on the ledger, in stroops. `kale` is None without a trustline."""

    xlm: int
    kale: int | None


@dataclass(frozen=True, slots=True)
class History:
    """All that a network ever did, in order, and how some accounts stand after it."""

    transactions: Sequence[LedgerTransaction]
    balances: dict[str, Balance]
    first_ledger: int
    last_ledger: int

    @classmethod
    def read(cls, rpc_url: str, asset: Asset, accounts: Sequence[str]) -> History:
        """Everything an RPC server remembers. Nothing else may be asked to plant while it is read."""
        with SorobanServer(rpc_url) as server:
            found = [_read(info, asset) for info in _all(server)]
            balances = dict(_balances(server, asset, accounts))
            health = server.get_health()
        return cls(found, balances, health.oldest_ledger, health.latest_ledger)

    @property
    def current_block(self) -> int:
        """The last block that anybody planted in."""
        return max((change.pail[1] for each in self.transactions for change in each.changes), default=-1)


def _all(server: SorobanServer) -> Iterator[Transaction]:
    start, cursor = server.get_health().oldest_ledger, None
    while True:
        page = server.get_transactions(None if cursor else start, cursor, PAGE)
        yield from page.transactions
        if len(page.transactions) < PAGE:
            return
        cursor = page.cursor


def _balances(server: SorobanServer, asset: Asset, accounts: Sequence[str]) -> Iterator[tuple[str, Balance]]:
    for address in accounts:
        account = Keypair.from_public_key(address).xdr_account_id()
        line = xdr.LedgerKeyTrustLine(account, asset.to_trust_line_asset_xdr_object())
        keys = [
            xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(account)),
            xdr.LedgerKey(xdr.LedgerEntryType.TRUSTLINE, trust_line=line),
        ]
        xlm = kale = None
        for entry in server.get_ledger_entries(keys).entries or []:
            data = xdr.LedgerEntryData.from_xdr(entry.xdr)
            if data.account:
                xlm = data.account.balance.int64
            elif data.trust_line:
                kale = data.trust_line.balance.int64
        if xlm is not None:
            yield address, Balance(xlm, kale)


def _read(info: Transaction, asset: Asset) -> LedgerTransaction:
    envelope = xdr.TransactionEnvelope.from_xdr(info.envelope_xdr)
    outer = envelope.fee_bump.tx if envelope.fee_bump else None
    v1 = outer.inner_tx.v1 if outer else envelope.v1
    assert v1 is not None
    result = xdr.TransactionResult.from_xdr(info.result_xdr)
    pair = result.result.inner_result_pair
    source = _account(v1.tx.source_account)
    operation, nonce = _operation(v1.tx)
    found = LedgerTransaction(
        hash=info.transaction_hash,
        inner_hash=pair.transaction_hash.hash.hex() if pair else None,
        ledger=info.ledger,
        closed_at=info.created_at,
        applied=info.status == "SUCCESS",
        fee=result.fee_charged.int64,
        fee_source=_account(outer.fee_source) if outer else source,
        source=source,
        sequence=v1.tx.seq_num.sequence_number.int64,
        operation=operation,
        nonce=nonce,
        meant=tuple(_pails_meant(v1.tx)),
        sources=frozenset(_account(each.source_account or v1.tx.source_account) for each in v1.tx.operations),
    )
    meta = xdr.TransactionMeta.from_xdr(info.result_meta_xdr).v4
    assert meta is not None
    for group in (meta.tx_changes_before, *(each.changes for each in meta.operations), meta.tx_changes_after):
        _apply(found, group.ledger_entry_changes, asset)
    found.kale = {address: moved for address, moved in found.kale.items() if moved}
    found.xlm = {address: moved for address, moved in found.xlm.items() if moved}
    return found


def _operation(transaction: xdr.Transaction) -> tuple[str, int | None]:
    """What the first operation is called, or what it calls; and the nonce of a work."""
    body = transaction.operations[0].body
    call = body.invoke_host_function_op and body.invoke_host_function_op.host_function.invoke_contract
    if not call:
        return body.type.name.lower(), None
    name = call.function_name.sc_symbol.decode()
    return name, scval.from_uint64(call.args[2]) if name == "work" else None


def _pails_meant(transaction: xdr.Transaction) -> Iterator[Pail]:
    if transaction.ext.soroban_data is None:
        return
    for key in transaction.ext.soroban_data.resources.footprint.read_write:
        if key.contract_data is not None and (pail := _pail(key.contract_data.key)) is not None:
            yield pail


def _apply(found: LedgerTransaction, changes: Sequence[xdr.LedgerEntryChange], asset: Asset) -> None:
    """Adds what these changes did. The state before a change stands before it, unless the entry is new."""
    before: xdr.LedgerEntryData | None = None
    for change in changes:
        if change.state is not None:
            before = change.state.data
            continue
        new = change.created or change.updated
        after = new.data if new else None
        _add(found, None if change.created else before, after, asset)
        before = None


def _add(
    found: LedgerTransaction, before: xdr.LedgerEntryData | None, after: xdr.LedgerEntryData | None, asset: Asset
) -> None:
    either = after or before
    assert either is not None
    if either.account is not None:
        address = _key(either.account.account_id)
        moved = sum(sign * each.account.balance.int64 for sign, each in _signed(before, after) if each.account)
        found.xlm[address] = found.xlm.get(address, 0) + moved
    elif either.trust_line is not None and either.trust_line.asset == asset.to_trust_line_asset_xdr_object():
        address = _key(either.trust_line.account_id)
        moved = sum(sign * each.trust_line.balance.int64 for sign, each in _signed(before, after) if each.trust_line)
        found.kale[address] = found.kale.get(address, 0) + moved
    elif either.contract_data is not None and (pail := _pail(either.contract_data.key)) is not None:
        found.changes.append(PailChange(pail, _pail_state(before), _pail_state(after)))


def _signed(
    before: xdr.LedgerEntryData | None, after: xdr.LedgerEntryData | None
) -> Iterator[tuple[int, xdr.LedgerEntryData]]:
    if before is not None:
        yield -1, before
    if after is not None:
        yield 1, after


def _pail(key: xdr.SCVal) -> Pail | None:
    if key.vec is None or len(key.vec.sc_vec) != 3:
        return None
    name: Any = scval.to_native(key.vec.sc_vec[0])
    if name != "Pail":
        return None
    return scval.from_address(key.vec.sc_vec[1]).address, scval.from_uint32(key.vec.sc_vec[2])


def _pail_state(data: xdr.LedgerEntryData | None) -> PailState | None:
    if data is None or data.contract_data is None:
        return None
    value: Any = scval.to_native(data.contract_data.val)
    return PailState(value["stake"], value["gap"], value["zeros"])


def _account(account: xdr.MuxedAccount) -> str:
    return MuxedAccount.from_xdr_object(account).account_id


def _key(account: xdr.AccountID) -> str:
    assert account.account_id.ed25519 is not None
    return Keypair.from_raw_ed25519_public_key(account.account_id.ed25519.uint256).public_key
