"""Soroban authorisation: which address allowed which tree of calls.

Enforcing matches `require_auth` against the entries a transaction carries (source account, address, address V2);
recording builds the entries a transaction will need. Both follow soroban-env-host `auth.rs`: an entry is a tree of
invocations, and a call inside an authorised call must be a child of it in the tree.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Protocol

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.ed25519 import verify_signature
from kalepool.devnet.ledger.ledger_entries import AccountEntry
from kalepool.devnet.soroban import scv
from kalepool.devnet.wire import array, i64, u32


class AuthMode(StrEnum):
    """What a simulation does about authorisation; a transaction is always enforced."""

    ENFORCE = "enforce"
    RECORD = "record"
    RECORD_ALLOW_NONROOT = "record_allow_nonroot"


class ContractRefusedError(Exception):
    """A contract account has failed, or said no: with its error."""

    error: tuple[int, int]


class AuthHost(Protocol):
    """What authorisation needs of the host it works in."""

    @property
    def network_id(self) -> bytes: ...
    @property
    def sequence(self) -> int: ...
    @property
    def max_live_until(self) -> int: ...
    def load_account(self, strkey: str) -> AccountEntry: ...
    def consume_nonce(self, strkey: str, nonce: int, live_until: int) -> None: ...
    def load_contract(self, account: str) -> None: ...
    def check_auth(self, account: str, payload: bytes, signature: bytes, contexts: list[bytes]) -> None: ...
    def error(self, error: tuple[int, int], message: str, *args: bytes) -> Exception: ...


class Authorisation(Protocol):
    """Says who authorised what while calls run: one frame is pushed and popped for each call."""

    def open(self, host: AuthHost) -> None:
        """Reads the entries, before anything is called. Raises where one is of a kind that no host reads."""
        ...

    def push(self) -> None: ...
    def pop(self) -> None: ...
    def snapshot(self) -> Any: ...
    def restore(self, snapshot: Any) -> None: ...
    def require(self, host: AuthHost, address: str, function: bytes) -> None:
        """Raises unless the address authorised the packed SorobanAuthorizedFunction in the current frame."""
        ...


AUTHENTICATION_ERROR = (0, 5)  # the account contract's own error: Error(Contract, #5)
_AUTH_INVALID_ACTION = (9, 6)
_AUTH_INVALID_INPUT = (9, 2)
_CRYPTO_INVALID_INPUT = (5, 2)
_OBJECT_INVALID_INPUT = (4, 2)
_CONVERSION_FAILED = (8, 8)
_MAX_SIGNATURES = 20


@dataclass(slots=True)
class Invocation:
    """A node of an authorisation tree: the packed SorobanAuthorizedFunction and the calls below it."""

    function: bytes
    children: list[Invocation] = field(default_factory=list)

    def pack(self) -> bytes:
        return self.function + array([child.pack() for child in self.children])

    @classmethod
    def parse(cls, node: xdr.SorobanAuthorizedInvocation) -> Invocation:
        return cls(node.function.to_xdr_bytes(), [cls.parse(child) for child in node.sub_invocations])


def contract_function(contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
    """Packed SorobanAuthorizedFunction of a contract call; `contract` is the raw hash."""
    return wire.ZERO + wire.ONE + contract + wire.opaque(function.encode()) + array(args)


def contexts_of(root: Invocation) -> list[bytes]:
    """What a contract account is shown of an authorisation: each call of the tree, packed as the host's `Context`."""
    function = xdr.SorobanAuthorizedFunction.from_xdr_bytes(root.function)
    if (call := function.contract_fn) is not None:
        fields = [
            (wire.sc_symbol("args"), wire.sc_vec([each.to_xdr_bytes() for each in call.args])),
            (wire.sc_symbol("contract"), wire.sc_address_value(call.contract_address.to_xdr_bytes())),
            (wire.sc_symbol("fn_name"), wire.sc_symbol(call.function_name.sc_symbol.decode())),
        ]
        name = "Contract"
    else:
        made = function.create_contract_v2_host_fn or function.create_contract_host_fn
        assert made is not None and made.executable.wasm_hash is not None
        assert made.contract_id_preimage.from_address is not None
        executable = wire.sc_vec([wire.sc_symbol("Wasm"), wire.sc_bytes(made.executable.wasm_hash.hash)])
        salt = made.contract_id_preimage.from_address.salt.uint256
        fields = [(wire.sc_symbol("executable"), executable), (wire.sc_symbol("salt"), wire.sc_bytes(salt))]
        name = "CreateContractHostFn"
        if isinstance(made, xdr.CreateContractArgsV2):
            arguments = wire.sc_vec([each.to_xdr_bytes() for each in made.constructor_args])
            fields.insert(0, (wire.sc_symbol("constructor_args"), arguments))
            name = "CreateContractWithCtorHostFn"
    own = wire.sc_vec([wire.sc_symbol(name), wire.sc_map(fields)])
    return [own, *(each for child in root.children for each in contexts_of(child))]


class Tracker:
    """One authorisation entry, and how far the running calls have walked down its tree."""

    def __init__(
        self, address: str, root: Invocation, credentials: xdr.SorobanAddressCredentials | None, *, with_address: bool
    ) -> None:
        self.address = address
        self.root = root
        self.credentials = credentials  # None: the transaction's source account, whose signature is checked elsewhere
        self.with_address = with_address
        self.verified = credentials is None
        self.used: set[int] = set()  # id() of the nodes that have been matched
        self.frames: list[Invocation | None] = []

    @property
    def is_active(self) -> bool:
        return any(frame is not None for frame in self.frames)

    def match(self, function: bytes, *, allow_root: bool) -> bool:
        """Whether the tree allows `function` in the current frame; if so the frame is matched with that node."""
        if not self.frames or self.frames[-1] is not None:
            return False
        last = next((frame for frame in reversed(self.frames) if frame is not None), None)
        candidates = last.children if last is not None else [self.root] if allow_root else []
        for node in candidates:
            if id(node) not in self.used and node.function == function:
                self.used.add(id(node))
                self.frames[-1] = node
                return True
        return False


class Enforcing:
    """Checks `require_auth` against the entries that came with the transaction."""

    def __init__(self, entries: list[xdr.SorobanAuthorizationEntry], source: str) -> None:
        self._entries = entries
        self._source = source
        self._trackers: list[Tracker] = []

    def open(self, host: AuthHost) -> None:
        try:
            self._trackers = [_tracker(entry, self._source) for entry in self._entries]
        except ValueError as error:  # an M…, B… or L… address authorises nothing
            raise host.error(_OBJECT_INVALID_INPUT, f"failed to read an authorization entry: {error}") from None

    def push(self) -> None:
        for tracker in self._trackers:
            tracker.frames.append(None)

    def pop(self) -> None:
        for tracker in self._trackers:
            tracker.frames.pop()

    def snapshot(self) -> Any:
        return [(set(t.used), list(t.frames), t.verified) for t in self._trackers]

    def restore(self, snapshot: Any) -> None:
        for tracker, (used, frames, verified) in zip(self._trackers, snapshot, strict=True):
            tracker.used, tracker.frames, tracker.verified = set(used), list(frames), verified

    def require(self, host: AuthHost, address: str, function: bytes) -> None:
        active = any(t.address == address and t.is_active and t.frames[-1] is None for t in self._trackers)
        for tracker in self._trackers:
            if tracker.address == address and tracker.match(function, allow_root=not active):
                self._verify(host, tracker)
                return
        raise host.error(_AUTH_INVALID_ACTION, "Unauthorized function call for address", wire.sc_addr(address))

    def _verify(self, host: AuthHost, tracker: Tracker) -> None:
        if tracker.verified or tracker.credentials is None:
            return
        _authenticate(host, tracker, tracker.credentials)
        nonce = tracker.credentials.nonce.int64
        expires = tracker.credentials.signature_expiration_ledger.uint32
        address = wire.sc_addr(tracker.address)
        if host.sequence > expires:
            raise host.error(
                _AUTH_INVALID_INPUT, "signature has expired", address, wire.sc_u32(host.sequence), wire.sc_u32(expires)
            )
        if expires > host.max_live_until:
            raise host.error(
                _AUTH_INVALID_INPUT,
                "signature expiration is too late",
                address,
                wire.sc_u32(host.max_live_until),
                wire.sc_u32(expires),
            )
        host.consume_nonce(tracker.address, nonce, expires)
        tracker.verified = True


def _tracker(entry: xdr.SorobanAuthorizationEntry, source: str) -> Tracker:
    credentials = entry.credentials.address or entry.credentials.address_v2
    if entry.credentials.address_with_delegates is not None:
        credentials = entry.credentials.address_with_delegates.address_credentials
    address = source if credentials is None else scv.decode_address(credentials.address.to_xdr_bytes())
    with_address = entry.credentials.address is None
    return Tracker(address, Invocation.parse(entry.root_invocation), credentials, with_address=with_address)


def _payload(host: AuthHost, tracker: Tracker, credentials: xdr.SorobanAddressCredentials) -> bytes:
    """Hash of the HashIDPreimage that the address signs."""
    envelope_type, address = (u32(10), wire.sc_address(tracker.address)) if tracker.with_address else (u32(9), b"")
    nonce = i64(credentials.nonce.int64)
    expires = u32(credentials.signature_expiration_ledger.uint32)
    return sha256(envelope_type + host.network_id + nonce + expires + address + tracker.root.pack()).digest()


def _authenticate(host: AuthHost, tracker: Tracker, credentials: xdr.SorobanAddressCredentials) -> None:
    failed = _signature_problem(host, tracker, credentials)
    if failed is not None:
        # The host reports the account's own error first and then hides it behind an auth error.
        raise host.error(
            _AUTH_INVALID_ACTION,
            "failed account authentication with error",
            wire.sc_addr(tracker.address),
            wire.sc_error(*failed),
        )


def _signature_problem(
    host: AuthHost, tracker: Tracker, credentials: xdr.SorobanAddressCredentials
) -> tuple[int, int] | None:
    """The error of a signature that does not authenticate the address; None when it does."""
    if not tracker.address.startswith("G"):
        payload, signature = _payload(host, tracker, credentials), credentials.signature.to_xdr_bytes()
        try:
            host.check_auth(tracker.address, payload, signature, contexts_of(tracker.root))
        except ContractRefusedError as error:
            return error.error
        return None
    try:
        signatures = scv.decode(credentials.signature.to_xdr_bytes())
    except ValueError:  # a contract instance, or an address that no contract is given
        host.error(_CONVERSION_FAILED, "failed to convert account signature")
        return _CONVERSION_FAILED
    if signatures.kind != "vec" or not signatures.value:
        host.error(AUTHENTICATION_ERROR, "no account signatures found")
        return AUTHENTICATION_ERROR
    if len(signatures.value) > _MAX_SIGNATURES:
        host.error(AUTHENTICATION_ERROR, "too many account signers", wire.sc_u32(len(signatures.value)))
        return AUTHENTICATION_ERROR
    account = host.load_account(tracker.address)
    payload = _payload(host, tracker, credentials)
    weight, previous = 0, b""
    for item in signatures.value:
        public_key, signature = _field(item, "public_key"), _field(item, "signature")
        if not (isinstance(public_key, bytes) and isinstance(signature, bytes)):
            host.error(_CONVERSION_FAILED, "failed to convert account signature")
            return _CONVERSION_FAILED
        if previous >= public_key:
            host.error(AUTHENTICATION_ERROR, "public keys are not ordered")
            return AUTHENTICATION_ERROR
        if not verify_signature(public_key, payload, signature):
            host.error(_CRYPTO_INVALID_INPUT, "failed ED25519 verification")
            return _CRYPTO_INVALID_INPUT
        signer_weight = ed25519_weight(account, public_key)
        if signer_weight == 0:
            host.error(AUTHENTICATION_ERROR, "signer does not belong to account", wire.sc_bytes(public_key))
            return AUTHENTICATION_ERROR
        weight, previous = weight + signer_weight, public_key
    if weight < account.thresholds[2]:
        args = wire.sc_u32(weight), wire.sc_u32(account.thresholds[2])
        host.error(AUTHENTICATION_ERROR, "signature weight is lower than threshold", *args)
        return AUTHENTICATION_ERROR
    return None


def _field(item: scv.Val, name: str) -> Any:
    """The member of a map with that symbol as key; keys may be of any kind."""
    pairs = item.value if item.kind == "map" else []
    return next((value.value for key, value in pairs if key == ("symbol", name)), None)


def ed25519_weight(account: AccountEntry, public_key: bytes) -> int:
    """The weight an ed25519 key has for the account, its master key included; 0 for a stranger."""
    if public_key == account.key:
        return account.thresholds[0]
    return next((weight for key, weight in account.signers if key == wire.ZERO + public_key), 0)


class Recording:
    """Writes down who would have to authorise what, as a simulation reports it."""

    def __init__(self, source: str, *, allow_nonroot: bool, upgraded: bool) -> None:
        self._source = source
        self._allow_nonroot = allow_nonroot
        self._upgraded = upgraded
        self._trackers: list[Tracker] = []
        self._nonces: dict[int, int] = {}
        self._depth = 0

    def open(self, host: AuthHost) -> None:
        """There is nothing to read: entries are what is recorded."""

    def push(self) -> None:
        self._depth += 1
        for tracker in self._trackers:
            tracker.frames.append(None)

    def pop(self) -> None:
        self._depth -= 1
        for tracker in self._trackers:
            tracker.frames.pop()

    def snapshot(self) -> Any:
        return self._depth, [(t, t.root.pack(), list(t.frames)) for t in self._trackers]

    def restore(self, snapshot: Any) -> None:
        # What a failed call recorded stays recorded: where the whole fails nothing is reported anyway.
        self._depth = snapshot[0]
        known = {id(tracker) for tracker, _, _ in snapshot[1]}
        for tracker, _, frames in snapshot[1]:
            tracker.frames = list(frames)
        for tracker in self._trackers:
            if id(tracker) not in known:
                tracker.frames = [None] * self._depth

    def require(self, host: AuthHost, address: str, function: bytes) -> None:
        for tracker in self._trackers:
            if tracker.address == address and tracker.is_active and tracker.frames[-1] is None:
                last = next(frame for frame in reversed(tracker.frames) if frame is not None)
                node = Invocation(function)
                last.children.append(node)
                tracker.frames[-1] = node
                return
        if self._depth > 1 and not self._allow_nonroot:
            raise host.error(
                _AUTH_INVALID_ACTION,
                "[recording authorization only] encountered authorization not tied to the root contract invocation "
                "for an address. Use `require_auth()` in the top invocation or enable non-root authorization.",
                wire.sc_addr(address),
            )
        tracker = Tracker(address, Invocation(function), None, with_address=True)
        tracker.frames = [*[None] * (self._depth - 1), tracker.root]
        if address != self._source:
            nonce = secrets.randbelow(2**63)
            self._nonces[len(self._trackers)] = nonce
            if address.startswith("G"):
                host.load_account(address)  # its signers will be read when the signature is checked
            elif address.startswith("C"):
                host.load_contract(address)  # and so will its code
            host.consume_nonce(address, nonce, host.max_live_until)
        self._trackers.append(tracker)

    def entries(self) -> list[bytes]:
        """Packed SorobanAuthorizationEntry of everything recorded, unsigned."""
        packed = []
        for position, tracker in enumerate(self._trackers):
            if position in self._nonces:
                kind = u32(2) if self._upgraded else u32(1)
                nonce = i64(self._nonces[position])
                credentials = kind + wire.sc_address(tracker.address) + nonce + u32(0) + wire.SCV_VOID
            else:
                credentials = wire.ZERO
            packed.append(credentials + tracker.root.pack())
        return packed
