"""The Soroban host: runs contract calls on a view of the ledger, with footprint, authorisation, events and TTLs.

The devnet's contracts are Python objects (`Contract`), not Wasm, but what surrounds them bites as on the network:
a key outside the declared footprint is an error, a failed call is rolled back, and diagnostic events tell the story in
the host's own words. Errors are (ScErrorType, ScErrorCode or contract's number).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from kalepool.devnet import wire
from kalepool.devnet.ledger.fees import RentChange
from kalepool.devnet.ledger.ledger_entries import AccountEntry, ContractCode, ContractData, LedgerEntry, TrustLine
from kalepool.devnet.ledger.soroban_calls import LedgerInfo
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import Footprint
from kalepool.devnet.settings import MAX_ENTRY_TTL, MIN_PERSISTENT_TTL
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.authorisation import Authorisation, ContractRefusedError, contract_function
from kalepool.devnet.wire import BUDGET_EXCEEDED, EventKind, array, sc_string, sc_symbol, sc_vec

Error = tuple[int, int]

STORAGE_MISSING: Error = (3, 3)
STORAGE_EXCEEDED: Error = (3, 5)
WASM_MISSING: Error = (1, 3)
WASM_TRAP: Error = (1, 6)
AUTH_EXISTING: Error = (9, 4)

# A plain model of the cost of a call in instructions: enough to make limits, fees and their order of size real. A
# transfer of an asset stays below the 400,000 that SDKs declare for one without a simulation.
COST_CALL = 420_000
COST_READ = 15_000
COST_WRITE = 40_000
COST_AUTH = 40_000
COST_EVENT = 15_000
COST_BUILTIN_CALL = 60_000
COST_SIGNATURE = 400_000


class Event(NamedTuple):
    """An event as the host keeps it: packed topics and data, `contract` the raw hash of who emitted it."""

    contract: bytes | None
    kind: EventKind
    topics: tuple[bytes, ...]
    data: bytes

    def pack(self) -> bytes:
        return wire.contract_event(self.contract, self.kind, self.topics, self.data)

    def render(self, *, failed: bool) -> str:
        """The line of a simulation's event log."""
        topics = [scv.render(topic) for topic in self.topics]
        if topics and topics[0] == "fn_call":
            topics[1] = wire.contract_strkey(self.topics[1][8:40])
        kind = f"{self.kind.capitalize()} Event"
        head = f"[Failed {kind} (not emitted)] " if failed else f"[{kind}] "
        contract = "" if self.contract is None else f"contract:{wire.contract_strkey(self.contract)}, "
        return f"{head}{contract}topics:[{', '.join(topics)}], data:{scv.render(self.data)}"


class CallError(ContractRefusedError):
    """A call failed. `error` is (ScErrorType, code); `log` the events up to it, with whether their call failed."""

    def __init__(self, error: Error, log: list[tuple[Event, bool]]) -> None:
        super().__init__(scv.error_text(*error))
        self.error = error
        self.log = log

    @property
    def is_recoverable(self) -> bool:
        """Whether a calling contract may catch it: broken preconditions (footprint, budget, internal) it may not."""
        kind, code = self.error
        if kind != 0 and code == 7:
            return False
        return self.error not in (STORAGE_EXCEEDED, BUDGET_EXCEEDED)

    def render(self) -> str:
        lines = [f"   {i}: {event.render(failed=failed)}" for i, (event, failed) in enumerate(reversed(self.log))]
        return "\n".join([f"HostError: {self}", "", "Event log (newest first):", *lines, ""])


def read_args(host: SorobanHost, function: str, args: tuple[bytes, ...], kinds: tuple[str, ...]) -> list[Any]:
    """The plain values of a call's arguments. Raises a trap unless they are of these kinds."""
    try:
        values = [scv.decode(arg) for arg in args]
    except ValueError:
        raise trap(host, function) from None
    if len(values) != len(kinds) or not all(map(_is_of_kind, values, kinds)):
        raise trap(host, function)
    return [value.value for value in values]


def _is_of_kind(value: scv.Val, kind: str) -> bool:
    return value.kind == kind or (kind == "any_address" and value.kind in ("address", "muxed_address"))


def trap(host: SorobanHost, function: str) -> CallError:
    """What is left when a contract's VM stops."""
    return host.error(WASM_TRAP, "VM call trapped: UnreachableCodeReached", sc_symbol(function))


class Contract(Protocol):
    """A contract: `invoke` runs a function with packed ScVals and returns one."""

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes: ...


Contracts = Mapping[bytes, Contract]
"""The network's contracts, by raw hash; and code that others may be made of, by its own hash."""


class SorobanHost:
    """One transaction's host. `view` collects its writes; the caller merges or drops it."""

    def __init__(
        self,
        view: StateView,
        ledger: LedgerInfo,
        contracts: Contracts,
        auth: Authorisation,
        footprint: Footprint | None,
        instructions_limit: int,
    ) -> None:
        self.view = view
        self.ledger = ledger
        self.contracts = contracts
        self.auth = auth
        self.events: list[tuple[Event, bool]] = []
        self.instructions = 0
        self._limit = instructions_limit
        self._base = view
        # Recording (footprint None): key -> whether it was written. Enforcing: the same, declared.
        self.recording = footprint is None
        self.keys: dict[bytes, bool] = {}
        if footprint is not None:
            self.keys = dict.fromkeys(footprint.read_only, False) | dict.fromkeys(footprint.read_write, True)
        self._stack: list[bytes] = []

    # --- what contracts and authorisation ask for

    @property
    def sequence(self) -> int:
        return self.ledger.sequence

    @property
    def network_id(self) -> bytes:
        return self.ledger.network_id

    @property
    def max_live_until(self) -> int:
        return self.ledger.sequence + MAX_ENTRY_TTL - 1

    @property
    def contract(self) -> bytes | None:
        """The raw hash of the running contract."""
        return self._stack[-1] if self._stack else None

    @property
    def invoker(self) -> bytes | None:
        """The raw hash of the contract that called the running one."""
        return self._stack[-2] if len(self._stack) > 1 else None

    def error(self, error: Error, message: str, *args: bytes) -> CallError:
        """Records an error event of the running contract and returns the exception to raise."""
        text = sc_string(message)
        data = sc_vec((text, *args)) if args else text
        self._record((sc_symbol("error"), wire.sc_error(*error)), data)
        return CallError(error, list(self.events))

    def charge(self, instructions: int) -> None:
        self.instructions += instructions
        if self.instructions > self._limit:
            raise CallError(BUDGET_EXCEEDED, list(self.events))

    def emit(self, topics: tuple[bytes, ...], data: bytes) -> None:
        """A contract event of the running contract."""
        self.charge(COST_EVENT)
        self.events.append((Event(self.contract, EventKind.CONTRACT, topics, data), False))

    def _record(self, topics: tuple[bytes, ...], data: bytes, contract: bytes | None = None) -> None:
        self.events.append((Event(contract or self.contract, EventKind.DIAGNOSTIC, topics, data), False))

    # --- storage

    def load(self, key: bytes, *args: bytes) -> LedgerEntry | None:
        """The live entry of a key. `args` explain the key in the error where it is outside of the footprint."""
        self.charge(COST_READ)
        if self.recording:
            self.keys.setdefault(key, False)
        elif key not in self.keys:
            raise self._outside(key, args)
        return self._live(key)

    def store(self, key: bytes, data: AccountEntry | TrustLine | ContractData | ContractCode, *args: bytes) -> None:
        """Writes an entry. A new contract entry gets the minimum TTL; writing does not extend an old one's."""
        self.charge(COST_WRITE)
        self._declare_write(key, args)
        before = self._live(key)
        live_until = before.live_until if before is not None else None
        if before is None and isinstance(data, ContractData):
            ttl = self.ledger.temporary_ttl if data.durability == wire.TEMPORARY else MIN_PERSISTENT_TTL
            live_until = self.sequence + ttl - 1
        extended = self.sequence if before is None else before.extended
        self.view.put_at(key, LedgerEntry(data, self.sequence, live_until, extended=extended))

    def delete(self, key: bytes, *args: bytes) -> None:
        self.charge(COST_WRITE)
        self._declare_write(key, args)
        self.view.remove(key)

    def extend_ttl(self, key: bytes, threshold: int, extend_to: int) -> None:
        """Extends an entry's life to `extend_to` ledgers from now if fewer than `threshold` are left."""
        entry = self.load(key)
        if entry is None or entry.live_until is None or entry.live_until - self.sequence > threshold:
            return
        live_until = self.sequence + extend_to
        if live_until > entry.live_until:
            extended = LedgerEntry(entry.data, entry.modified, live_until, extended=self.sequence)
            self.view.put_at(key, extended)

    def _declare_write(self, key: bytes, args: tuple[bytes, ...]) -> None:
        if self.recording:
            self.keys[key] = True
        elif not self.keys.get(key, False):
            raise self._outside(key, args)

    def _live(self, key: bytes) -> LedgerEntry | None:
        entry = self.view.get(key)
        return None if entry is not None and entry.has_expired(self.sequence) else entry

    def _outside(self, key: bytes, args: tuple[bytes, ...]) -> CallError:
        return self.error(STORAGE_EXCEEDED, f"trying to access {_key_kind(key)} outside of the footprint", *args)

    def load_account(self, strkey: str) -> AccountEntry:
        entry = self.load(wire.key_account(wire.account_key(strkey)), wire.sc_addr(strkey))
        if entry is None or not isinstance(entry.data, AccountEntry):
            raise self.error((0, 6), "account entry is missing", wire.sc_addr(strkey))
        return entry.data

    def consume_nonce(self, strkey: str, nonce: int, live_until: int) -> None:
        """Marks an authorisation's nonce as used until it expires. Raises where it was used before."""
        address, nonce_key = wire.sc_address(strkey), wire.sc_nonce_key(nonce)
        key = wire.key_contract_data(address, nonce_key, wire.TEMPORARY)
        if self.load(key, wire.sc_addr(strkey), wire.sc_i64(nonce)) is not None:
            raise self.error(AUTH_EXISTING, "nonce already exists for address", wire.sc_addr(strkey))
        self.charge(COST_SIGNATURE)
        self._declare_write(key, (wire.sc_addr(strkey),))
        data = ContractData(address, nonce_key, wire.TEMPORARY, wire.SCV_VOID)
        self.view.put_at(key, LedgerEntry(data, self.sequence, live_until))

    # --- calls

    def require_auth(self, address: str, function: str, args: tuple[bytes, ...]) -> None:
        """Raises unless `address` authorised this call of the running contract. A calling contract always has."""
        self.charge(COST_AUTH)
        assert self.contract is not None
        if self.invoker is not None and address == wire.contract_strkey(self.invoker):
            return
        self.auth.require(self, address, contract_function(self.contract, function, args))

    def invoke(self, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        """Calls a contract's function; a failure rolls its writes, events and authorisations back and is raised."""
        data = _one_or_vec(args)
        self._record((sc_symbol("fn_call"), wire.sc_bytes(contract), sc_symbol(function)), data)
        first_event = len(self.events)
        auth_before = self.auth.snapshot()
        below = self.view
        self.view = StateView(below)
        self._stack.append(contract)
        self.auth.push()
        try:
            instance = self.load(instance_key(contract), wire.sc_addr(wire.contract_strkey(contract)))
            implementation = self.contracts.get(contract) or self.contracts.get(_code_of(instance))
            if instance is None or implementation is None:
                address = wire.sc_addr(wire.contract_strkey(contract))
                raise self.error(STORAGE_MISSING, "trying to get non-existing value for contract instance", address)
            result = implementation.invoke(self, contract, function, args)
        except CallError:
            self.view = below
            self.events[first_event:] = [(event, True) for event, _ in self.events[first_event:]]
            self.auth.pop()
            self._stack.pop()
            self.auth.restore(auth_before)
            raise
        self.view.merge()
        self.view = below
        self.auth.pop()
        self._stack.pop()
        self._record((sc_symbol("fn_return"), sc_symbol(function)), result, contract)
        return result

    def load_contract(self, account: str) -> None:
        """Looks at a contract's instance and code, as whoever has it check a signature will."""
        instance = self.load(instance_key(wire.contract_hash(account)))
        if code := _code_of(instance):
            self.load(wire.key_contract_code(code))

    def check_auth(self, account: str, payload: bytes, signature: bytes, contexts: list[bytes]) -> None:
        """Has a contract account say whether it authorised what this payload is of. Raises CallError unless it did."""
        args = (wire.sc_bytes(payload), signature, sc_vec(contexts))
        self.invoke(wire.contract_hash(account), "__check_auth", args)

    def call(self, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        """A call from the running contract to another."""
        try:
            return self.invoke(contract, function, args)
        except CallError as error:
            self.error(error.error, "contract call failed", sc_symbol(function), sc_vec(args))
            raise

    def try_call(self, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes | None:
        """A call whose failure the running contract catches: None. What may not be caught is raised."""
        try:
            return self.invoke(contract, function, args)
        except CallError as error:
            self.error(error.error, "contract try_call failed", sc_symbol(function), sc_vec(args))
            if not error.is_recoverable:
                raise
            return None

    # --- what a finished host used

    def contract_events(self) -> list[bytes]:
        return [event.pack() for event, failed in self.events if event.kind is EventKind.CONTRACT and not failed]

    def diagnostic_events(self) -> list[bytes]:
        return [wire.diagnostic_event(not failed, event.pack()) for event, failed in self.events]

    def write_bytes(self) -> int:
        """Size of every written entry that exists after the call."""
        written = (self._live(key) for key, write in self.keys.items() if write)
        return sum(len(entry.pack()) for entry in written if entry is not None)

    def disk_read_bytes(self) -> int:
        """Size of the classic entries read; contract state is in memory and costs no disk."""
        classic = (self._base_entry(key) for key in self.keys if key[:4] not in _CONTRACT_KINDS)
        return sum(len(entry.pack()) for entry in classic if entry is not None)

    def _base_entry(self, key: bytes) -> LedgerEntry | None:
        parent = self._base.parent
        return parent.get(key)

    def rent_changes(self) -> list[RentChange]:
        """Every contract entry that was made, grew or lives longer."""
        changes = []
        for key, after in self._base.changes.items():
            if after is None or after.live_until is None:
                continue
            before = self._base_entry(key)
            if before is not None and before.has_expired(self.sequence):
                before = None
            changes.append(
                RentChange(
                    persistent=not after.is_temporary,
                    code=key[:4] == wire.LEDGER_KEY_CONTRACT_CODE,
                    old_size=0 if before is None else len(before.pack()),
                    new_size=len(after.pack()),
                    old_live_until=0 if before is None or before.live_until is None else before.live_until,
                    new_live_until=after.live_until,
                )
            )
        return changes


_CONTRACT_KINDS = (wire.LEDGER_KEY_CONTRACT_DATA, wire.LEDGER_KEY_CONTRACT_CODE)


def _one_or_vec(args: tuple[bytes, ...]) -> bytes:
    """How the host writes a list in an event's data: nothing as void, one as itself, more as a vec."""
    return wire.SCV_VOID if not args else args[0] if len(args) == 1 else sc_vec(args)


def _code_of(instance: LedgerEntry | None) -> bytes:
    """The hash of the Wasm code of an instance; empty where there is none."""
    value = instance.data.value if instance is not None and isinstance(instance.data, ContractData) else b""
    start = wire.sc_instance(wire.executable_wasm(b""), None)[:8]
    return value[8:40] if value.startswith(start) else b""


def instance_key(contract: bytes) -> bytes:
    """Packed ledger key of a contract's instance."""
    return wire.key_contract_data(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT)


def _key_kind(key: bytes) -> str:
    kind = key[:4]
    if kind == wire.LEDGER_KEY_ACCOUNT:
        return "account"
    if kind == wire.LEDGER_KEY_TRUSTLINE:
        return "account trustline"
    if kind == wire.LEDGER_KEY_CONTRACT_CODE:
        return "contract code"
    if wire.SCV_CONTRACT_INSTANCE_KEY in key[36:48]:
        return "contract instance"
    return "contract data key"


def success_hash_preimage(result: bytes, events: list[bytes]) -> bytes:
    """InvokeHostFunctionSuccessPreImage: its hash is the operation's result."""
    return result + array(events)
