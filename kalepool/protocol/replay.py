"""Replays recorded contract calls (kale-oracle-trace/1) through `lifecycle` in any world that can host it.

A trace is a start state, a list of calls with what the real contract answered and changed, and a final state. `replay`
runs it in a `World` and raises `TraceDifferenceError` at the first difference. `MemoryWorld` is the plain one; the
devnet brings its own, so that its ledger is held to the same recordings.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from kalepool.contract_errors import ContractError
from kalepool.errors import AssetContractError, InputError, KalepoolError
from kalepool.protocol.lifecycle import METHODS
from kalepool.protocol.model import (
    FARM_BLOCK,
    FARM_INDEX,
    FARM_PAUSED,
    HOMESTEAD_ASSET,
    HOMESTEADER,
    Block,
    Key,
    Pail,
    TrapError,
    block_key,
    pail_key,
)

T = TypeVar("T")

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | None"
"""What a recording is made of: it has no fractions."""

FORMAT = "kale-oracle-trace/1"
_BYTES_ARGS = {"hash"}
_ADDRESS_ARGS = {"farmer", "asset"}


@dataclass(frozen=True, slots=True)
class WorldState:
    """A contract's whole state and its token's balances. `live_until`: last ledger of each temporary entry."""

    sequence: int
    timestamp: int
    entries: dict[Key[Any], Any] = field(default_factory=dict)
    live_until: dict[Key[Any], int] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What a successful call returned, whom it asked to authorise, and what it told the token."""

    value: int | None
    auth: tuple[str, ...]
    token: tuple[tuple[str, str, int], ...]


class World(Protocol):
    """A ledger with the KALE contract on it."""

    def invoke(self, sequence: int, timestamp: int, method: str, args: Mapping[str, Any]) -> CallOutcome:
        """Runs one call in the ledger `sequence`; args by the contract's names, addresses as strkeys, hash as bytes.

        Raises ContractError, AssetContractError or TrapError, and then has changed nothing.
        """
        ...

    def state(self) -> WorldState:
        """The state now: live entries only."""
        ...


WorldFactory = Callable[[WorldState, int], World]
"""(start state, TTL in ledgers of a new temporary entry) -> a world in that state."""


class TraceDifferenceError(KalepoolError):
    """The first place where a replayed trace differs from its recording. `call` is None in the final state."""

    code = "trace-difference"

    def __init__(self, trace: str, call: int | None, path: str, expected: object, got: object) -> None:
        where = "final state" if call is None else f"call {call}"
        super().__init__(f"{trace}: {where}: {path}: expected {expected}, got {got}")
        self.trace, self.call, self.path, self.expected, self.got = trace, call, path, expected, got


def read_trace(path: Path) -> dict[str, Any]:
    """The trace in a .json or .json.gz file. Raises InputError when it is not one."""
    try:
        data = path.read_bytes()
        trace: Json = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"cannot read trace {path}: {error}") from error
    if not isinstance(trace, dict) or trace.get("format") != FORMAT:
        raise InputError(f"{path} is not a {FORMAT} file")
    missing = {"name", "min_temp_entry_ttl", "initial", "calls", "final"} - trace.keys()
    if missing:
        raise InputError(f"trace {path} lacks {', '.join(sorted(missing))}")
    return trace


def replay(trace: Mapping[str, Any], factory: WorldFactory | None = None, *, name: str | None = None) -> int:
    """Replays one trace and returns its number of calls. Raises TraceDifferenceError at the first difference.

    `name` stands for the trace in that error; by default the trace's own name.
    """
    name = name or str(trace["name"])
    world = (factory or MemoryWorld)(_parse_state(trace["initial"]), int(trace["min_temp_entry_ttl"]))
    for call in trace["calls"]:
        got = _run_call(world, call)
        _compare(name, call["i"], "", {k: call[k] for k in ("expect", "auth", "token", "state") if k in call}, got)
    _compare(name, None, "", trace["final"], _dump_state(world.state(), trace["final"]))
    return len(trace["calls"])


class MemoryWorld:
    """The plainest world: a dict of entries, a dict of balances, and a snapshot to roll back to."""

    block_seconds = 300

    def __init__(self, start: WorldState, ttl_ledgers: int) -> None:
        self.sequence, self.timestamp = start.sequence, start.timestamp
        self._ttl_ledgers = ttl_ledgers
        self._entries = dict(start.entries)
        self._live_until = dict(start.live_until)
        self._balances: dict[str, int] = dict(start.balances)
        self._auth: list[str] = []
        self._token: list[tuple[str, str, int]] = []

    def invoke(self, sequence: int, timestamp: int, method: str, args: Mapping[str, Any]) -> CallOutcome:
        self.sequence, self.timestamp = sequence, timestamp
        before = dict(self._entries), dict(self._live_until), dict(self._balances)
        self._auth, self._token = [], []
        try:
            value = METHODS[method](self, **args)
        except BaseException:
            self._entries, self._live_until, self._balances = before
            raise
        return CallOutcome(value, tuple(self._auth), tuple(self._token))

    def state(self) -> WorldState:
        live = {key: value for key, value in self._entries.items() if self._is_live(key)}
        return WorldState(
            self.sequence,
            self.timestamp,
            live,
            {key: until for key, until in self._live_until.items() if key in live},
            dict(self._balances),
        )

    def _is_live(self, key: Key[Any]) -> bool:
        return not key.temporary or self._live_until.get(key, -1) >= self.sequence

    # What `lifecycle.Host` asks for:

    def read(self, key: Key[T]) -> T | None:
        return self._entries.get(key) if self._is_live(key) else None

    def write(self, key: Key[T], value: T) -> None:
        if key.temporary and not (key in self._entries and self._is_live(key)):
            self._live_until[key] = self.sequence + self._ttl_ledgers - 1
        self._entries[key] = value

    def remove(self, key: Key[Any]) -> None:
        self._entries.pop(key, None)
        self._live_until.pop(key, None)

    def require_auth(self, address: str) -> None:
        self._auth.append(address)

    def burn(self, address: str, amount: int) -> None:
        if self._balances.get(address, 0) < amount:
            raise AssetContractError(10)
        self._balances[address] -= amount
        self._token.append(("burn", address, amount))

    def mint(self, address: str, amount: int) -> None:
        self._balances[address] = self._balances.get(address, 0) + amount
        self._token.append(("mint", address, amount))


# From and to the recording's JSON: every integer a decimal string, bytes hex, None null.


def _parse_args(args: Mapping[str, str]) -> dict[str, Any]:
    def parse(name: str, text: str) -> Any:
        if name in _BYTES_ARGS:
            return bytes.fromhex(text)
        return text if name in _ADDRESS_ARGS else int(text)

    return {name: parse(name, text) for name, text in args.items()}


def _parse_block(block: Mapping[str, str]) -> Block:
    values: dict[str, Any] = {f.name: int(block[f.name]) for f in fields(Block) if f.name != "entropy"}
    return Block(entropy=bytes.fromhex(block["entropy"]), **values)


def _parse_pail(pail: Mapping[str, str | None]) -> Pail:
    values: dict[str, Any] = {f.name: pail[f.name] for f in fields(Pail)}
    values = {name: None if text is None else int(text) for name, text in values.items()}
    return Pail(**values)


def _parse_state(state: Mapping[str, Any]) -> WorldState:
    entries: dict[Key[Any], Any] = {
        HOMESTEADER: state["homesteader"],
        HOMESTEAD_ASSET: state["asset"],
        FARM_INDEX: None if state["farm_index"] is None else int(state["farm_index"]),
        FARM_PAUSED: state["farm_paused"],
        FARM_BLOCK: None if state["farm_block"] is None else _parse_block(state["farm_block"]),
    }
    entries = {key: value for key, value in entries.items() if value is not None}
    live_until: dict[Key[Any], int] = {}
    for index, block in state["blocks"].items():
        entries[block_key(int(index))] = _parse_block(block)
        live_until[block_key(int(index))] = int(block["live_until"])
    for pail in state["pails"]:
        key = pail_key(pail["farmer"], int(pail["index"]))
        entries[key] = _parse_pail(pail)
        live_until[key] = int(pail["live_until"])
    balances = {address: int(amount) for address, amount in state["balances"].items()}
    return WorldState(int(state["seq"]), int(state["ts"]), entries, live_until, balances)


def _dump(value: object) -> Any:
    """A value as the recording writes it."""
    if isinstance(value, Block | Pail):
        return {f.name: _dump(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | str):
        return value
    return str(value)


def _dump_state(state: WorldState, recorded: Mapping[str, Any]) -> dict[str, Any]:
    get = state.entries.get
    blocks: dict[str, Json] = {}
    pails: list[Json] = []
    for key, value in state.entries.items():
        if key.name == "Block":
            blocks[str(key.args[0])] = {**_dump(value), "live_until": str(state.live_until[key])}
        elif key.name == "Pail":
            farmer, index = key.args
            pails.append(
                {**_dump(value), "farmer": farmer, "index": str(index), "live_until": str(state.live_until[key])}
            )
    # A world may know addresses without a balance that the recording leaves out.
    balances = {a: str(n) for a, n in state.balances.items() if n or a in recorded["balances"]}
    return {
        "seq": str(state.sequence),
        "ts": str(state.timestamp),
        "homesteader": get(HOMESTEADER),
        "asset": get(HOMESTEAD_ASSET),
        "farm_index": _dump(get(FARM_INDEX)),
        "farm_paused": get(FARM_PAUSED),
        "farm_block": _dump(get(FARM_BLOCK)),
        "blocks": blocks,
        "pails": pails,
        "balances": balances,
    }


def _run_call(world: World, call: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one call and describes it as the recording does: expect, auth and token if it succeeded, state."""
    got: dict[str, Any] = {}
    args = _parse_args(call["args"])
    try:
        outcome = world.invoke(int(call["seq"]), int(call["ts"]), call["method"], args)
    except ContractError as error:
        name = type(error).__name__.removesuffix("Error")
        got["expect"] = {"error": {"kind": "contract", "code": error.number, "name": name}}
    except AssetContractError as error:
        got["expect"] = {"error": {"kind": "token", "code": error.number}}
    except TrapError:
        got["expect"] = {"error": {"kind": "trap"}}
    else:
        got["expect"] = {"ok": _dump(outcome.value)}
        got["auth"] = list(outcome.auth)
        got["token"] = [[function, address, str(amount)] for function, address, amount in outcome.token]

    state = world.state()
    index = state.entries.get(FARM_INDEX)
    got["state"] = {
        "farm_index": _dump(index),
        "farm_paused": state.entries.get(FARM_PAUSED),
        "farm_block": _dump(state.entries.get(FARM_BLOCK)),
        "block": _dump(state.entries.get(block_key(index or 0))),
        "supply": str(sum(state.balances.values())),
    }
    if call["method"] in ("plant", "work", "harvest"):
        pail_index = args.get("index", index or 0)
        got["state"] |= {
            "pail_index": str(pail_index),
            "pail": _dump(state.entries.get(pail_key(args["farmer"], pail_index))),
            "balance": str(state.balances.get(args["farmer"], 0)),
        }
    return got


def _compare(trace: str, call: int | None, path: str, expected: Json, got: Json) -> None:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in [*expected, *(k for k in got if k not in expected)]:
            step = f"{path}.{key}" if path else str(key)
            _compare(trace, call, step, expected.get(key, "nothing"), got.get(key, "nothing"))
    elif path == "pails" and isinstance(expected, list) and isinstance(got, list):
        _compare(trace, call, "pails.by_key", _by_key(expected), _by_key(got))
    elif expected != got:
        raise TraceDifferenceError(trace, call, path, expected, got)


def _by_key(pails: list[Json]) -> Json:
    """Pails by what names them, so that their order does not count."""
    return {f"{pail['farmer']} {pail['index']}": pail for pail in pails if isinstance(pail, dict)}
