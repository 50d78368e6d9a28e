"""Recorded contract calls and hashes, held against what the devnet runs.

`DevnetWorld` is a ledger with the KALE contract and its asset contract on the host that the RPC server uses; the
recordings' token gives accounts and contracts alike a 128-bit balance, so here it keeps every balance itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kernels
from kalepool.contract_errors import ContractError
from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import ContractCode, ContractData, Data, LedgerEntry
from kalepool.devnet.ledger.soroban_calls import LedgerInfo
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.settings import TX_MAX_INSTRUCTIONS
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.asset_balances import Holding, pack_balance
from kalepool.devnet.soroban.asset_contract import AssetContract, pack_asset_instance
from kalepool.devnet.soroban.authorisation import AuthHost
from kalepool.devnet.soroban.host import CallError, Contract, SorobanHost
from kalepool.devnet.soroban.kale_contract import (
    KaleContract,
    decode_value,
    encode_value,
    pack_instance,
    pack_key,
    read_instance,
)
from kalepool.devnet.wire import sc_addr, sc_bytes, sc_i128, sc_symbol, sc_u32, sc_u64
from kalepool.errors import AssetContractError, InputError, KalepoolError
from kalepool.networks import DEVNET
from kalepool.protocol.hashing import count_zeros, farmer_bytes, hash_work
from kalepool.protocol.model import BLOCK_INTERVAL, HOMESTEAD_ASSET, Key, TrapError
from kalepool.protocol.replay import CallOutcome, WorldState, read_trace, replay

HASH_FORMAT = "kale-hash-vectors/1"
_NETWORK_ID = bytes(32)
_CODE = ContractCode(b"")
_KALE = wire.contract_hash(DEVNET.contract_id)


class HashDifferenceError(KalepoolError):
    """A recorded hash or search that comes out differently."""

    code = "hash-difference"


class _TraceToken(AssetContract):
    """The asset contract without trustlines: the recordings' token keeps every address's balance itself."""

    def holds_for(self, address: str) -> bool:
        return True

    def issuer_has(self, host: SorobanHost, flag: int) -> bool:
        return False


class _Everybody:
    """Everybody authorises everything; whom the KALE contract itself asked is written down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._depth = 0

    def open(self, host: AuthHost) -> None:
        """There are no entries to read."""

    def push(self) -> None:
        self._depth += 1

    def pop(self) -> None:
        self._depth -= 1

    def snapshot(self) -> int:
        return self._depth

    def restore(self, snapshot: int) -> None:
        self._depth = snapshot

    def require(self, host: AuthHost, address: str, function: bytes) -> None:
        if self._depth == 1:
            self.asked.append(address)


class DevnetWorld:
    """`protocol.replay.World` on the devnet's host."""

    def __init__(self, start: WorldState, ttl_ledgers: int) -> None:
        self._sequence, self._timestamp, self._ttl = start.sequence, start.timestamp, ttl_ledgers
        self._token = _TraceToken(DEVNET.asset_code, wire.account_key(DEVNET.asset_issuer))
        self._contracts: dict[bytes, Contract] = {_KALE: KaleContract(_CODE.ledger_key[4:], BLOCK_INTERVAL)}
        self._entries: dict[bytes, LedgerEntry] = {}
        self._decoded: dict[LedgerEntry, Any] = {}
        instance = {key.name: value for key, value in start.entries.items() if not key.temporary}
        code = wire.executable_wasm(_CODE.ledger_key[4:])
        for data in (_CODE, pack_instance(_KALE, code, instance)):
            self._entries[data.ledger_key] = LedgerEntry(data, start.sequence, start.sequence)
        asset = start.entries.get(HOMESTEAD_ASSET, DEVNET.asset_contract_id)
        self._deploy_token(wire.contract_hash(asset), start.balances)
        for key, value in start.entries.items():
            if key.temporary:
                data = ContractData(wire.ONE + _KALE, pack_key(key), wire.TEMPORARY, encode_value(value), value)
                self._entries[data.ledger_key] = LedgerEntry(data, start.sequence, start.live_until[key])

    def invoke(self, sequence: int, timestamp: int, method: str, args: Mapping[str, Any]) -> CallOutcome:
        self._sequence, self._timestamp = sequence, timestamp
        if method == "__constructor" and HOMESTEAD_ASSET not in (before := self.state()).entries:
            # The token is wherever the constructor says; until then nobody could have found it.
            self._deploy_token(wire.contract_hash(args["asset"]), before.balances)
        view = StateView(self._entries)
        info = LedgerInfo(sequence, timestamp, _NETWORK_ID, self._ttl)
        auth = _Everybody()
        host = SorobanHost(view, info, self._contracts, auth, None, TX_MAX_INSTRUCTIONS)
        try:
            result = host.invoke(_KALE, method, tuple(_argument(name, value) for name, value in args.items()))
        except CallError as error:
            raise _explain(error, host, self._asset) from None
        for key, entry in view.changes.items():
            if entry is None:
                del self._entries[key]
            else:
                self._entries[key] = entry
        return CallOutcome(scv.decode(result).value, tuple(auth.asked), tuple(_token_calls(host, self._asset)))

    def state(self) -> WorldState:
        state = WorldState(self._sequence, self._timestamp)
        for entry in self._entries.values():
            data = entry.data
            if not isinstance(data, ContractData) or entry.has_expired(self._sequence):
                continue
            if data.key == wire.SCV_CONTRACT_INSTANCE_KEY:
                if data.address[4:] == _KALE:
                    state.entries.update({Key(name): value for name, value in read_instance(data).items()})
                continue
            name, *rest = [item.value for item in scv.decode(data.key).value]
            if data.address[4:] != _KALE:
                fields = {key.value: item.value for key, item in scv.decode(data.value).value}
                state.balances[rest[0]] = fields["amount"]
            else:
                key = Key(name, tuple(rest))
                state.entries[key] = self._decode(key, entry, data)
                assert entry.live_until is not None
                state.live_until[key] = entry.live_until
        return state

    def _decode(self, key: Key[Any], entry: LedgerEntry, data: ContractData) -> Any:
        """The value as it stands in the ledger's XDR; each entry is decoded once."""
        if entry not in self._decoded:
            self._decoded[entry] = decode_value(key.name, data.value)
        return self._decoded[entry]

    def _deploy_token(self, contract: bytes, balances: Mapping[str, int]) -> None:
        self._asset = contract
        self._contracts[contract] = self._token
        data: list[Data] = [pack_asset_instance(contract, self._token, DEVNET.contract_id)]
        data += [pack_balance(contract, address, Holding(amount)) for address, amount in balances.items()]
        for item in data:
            self._entries[item.ledger_key] = LedgerEntry(item, self._sequence, self._sequence)


def _argument(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return sc_addr(value)
    if isinstance(value, bytes):
        return sc_bytes(value)
    return {"amount": sc_i128, "nonce": sc_u64, "index": sc_u32}[name](value)


def _explain(error: CallError, host: SorobanHost, asset: bytes) -> Exception:
    """The failure as the recordings name it: by the contract whose error came first."""
    kind, code = error.error
    if kind != 0:
        return TrapError(str(error))
    first = next(event for event, _ in host.events if event.topics[0] == sc_symbol("error"))
    return AssetContractError(code) if first.contract == asset else ContractError.from_number(code)


def _token_calls(host: SorobanHost, asset: bytes) -> list[tuple[str, str, int]]:
    calls = []
    for event, _ in host.events:
        if event.topics[0] == sc_symbol("fn_call") and event.topics[1] == sc_bytes(asset):
            address, amount = scv.decode(event.data).value
            calls.append((scv.decode(event.topics[2]).value, address.value, amount.value))
    return calls


def replay_trace(path: Path) -> int:
    """Replays a trace and returns its number of calls. TraceDifferenceError at the first difference."""
    return replay(read_trace(path), DevnetWorld, name=path.name)


def replay_hashes(path: Path, backend: str | None) -> tuple[int, int]:
    """Checks recorded digests with the readable hash, and recorded searches with the kernels too.

    Returns the number of hashes and of searches. Raises HashDifferenceError at the first difference, InputError where
    the file is not one of such vectors.
    """
    try:
        vectors = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read hash vectors {path}: {error}") from error
    if not isinstance(vectors, dict) or vectors.get("format") != HASH_FORMAT:
        raise InputError(f"{path} is not a {HASH_FORMAT} file")
    try:
        for number, vector in enumerate(vectors["hash"]):
            template, nonce = _template(vector), int(vector["nonce"])
            digest = hash_work(vector["index"], nonce, template.entropy, vector["farmer"])
            _compare(f"hash {number}", (vector["hash"], vector["zeros"]), (digest.hex(), count_zeros(digest)))
            best = kernels.search(template, nonce, 1, backend=backend)
            _compare(f"hash {number} by kernel", (nonce, vector["zeros"]), _found(best))
        for number, vector in enumerate(vectors["search"]):
            template, nonce = _template(vector), int(vector["best_nonce"])
            best = kernels.search(template, int(vector["start"]), vector["count"], backend=backend)
            _compare(f"search {number}", (nonce, vector["best_zeros"]), _found(best))
            digest = hash_work(vector["index"], nonce, template.entropy, vector["farmer"])
            _compare(f"search {number}: hash", vector["hash"], digest.hex())
    except kernels.KernelError as error:
        raise InputError(str(error)) from error
    return len(vectors["hash"]), len(vectors["search"])


def _template(vector: Mapping[str, Any]) -> kernels.Template:
    return kernels.Template(vector["index"], bytes.fromhex(vector["entropy"]), farmer_bytes(vector["farmer"]))


def _found(best: kernels.Best | None) -> tuple[int, int] | None:
    return None if best is None else (best.nonce, best.zeros)


def _compare(where: str, expected: object, got: object) -> None:
    if expected != got:
        raise HashDifferenceError(f"{where}: expected {expected}, got {got}")
