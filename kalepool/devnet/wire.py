"""XDR bytes of the values the devnet makes itself, put together without intermediate objects.

Everything that comes from outside is parsed with stellar-sdk; what goes out by the thousand (entries, events, meta) is
written here, because a ledger of fifty transactions would otherwise spend its time in the SDK's packer.
Numbers in the code are the discriminants of Stellar's XDR definitions, named after them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from stellar_sdk import StrKey

_U32 = struct.Struct(">I")
_I32 = struct.Struct(">i")
_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q")

u32 = _U32.pack
i32 = _I32.pack
u64 = _U64.pack
i64 = _I64.pack

ZERO = u32(0)
ONE = u32(1)
HASH_ZERO = bytes(32)


def opaque(data: bytes) -> bytes:
    """Variable-length opaque or string: length, bytes, padding to a multiple of four."""
    return u32(len(data)) + data + bytes(-len(data) % 4)


def array(items: Sequence[bytes]) -> bytes:
    """Variable-length array of items that are packed already."""
    return u32(len(items)) + b"".join(items)


def optional(item: bytes | None) -> bytes:
    return ZERO if item is None else ONE + item


# --- addresses -------------------------------------------------------------------------------------------------------


def account_id(key: bytes) -> bytes:
    """AccountID of a raw ed25519 public key."""
    return ZERO + key


@lru_cache(maxsize=65536)
def sc_address(strkey: str) -> bytes:
    """ScAddress of a G… or C… strkey. ValueError on anything else."""
    if strkey.startswith("G"):
        return ZERO + ZERO + StrKey.decode_ed25519_public_key(strkey)
    if strkey.startswith("C"):
        return ONE + StrKey.decode_contract(strkey)
    raise ValueError(f"not a G… or C… address: {strkey!r}")


def address_of_account(key: bytes) -> bytes:
    """ScAddress of a raw public key."""
    return ZERO + account_id(key)


def address_of_claimable_balance(balance_id: bytes) -> bytes:
    """ScAddress of a claimable balance."""
    return u32(3) + ZERO + balance_id


@lru_cache(maxsize=65536)
def account_strkey(key: bytes) -> str:
    return StrKey.encode_ed25519_public_key(key)


@lru_cache(maxsize=65536)
def account_key(strkey: str) -> bytes:
    """The raw public key of a G… strkey."""
    return StrKey.decode_ed25519_public_key(strkey)


@lru_cache(maxsize=1024)
def contract_strkey(contract: bytes) -> str:
    return StrKey.encode_contract(contract)


@lru_cache(maxsize=1024)
def contract_hash(strkey: str) -> bytes:
    return StrKey.decode_contract(strkey)


# --- ScVal -----------------------------------------------------------------------------------------------------------

SCV_VOID = u32(1)
SCV_CONTRACT_INSTANCE_KEY = u32(20)
_SCV_BOOL = u32(0)
_SCV_ERROR = u32(2)
_SCV_U32 = u32(3)
_SCV_U64 = u32(5)
_SCV_I64 = u32(6)
_SCV_I128 = u32(10)
_SCV_BYTES = u32(13)
_SCV_STRING = u32(14)
_SCV_SYMBOL = u32(15)
_SCV_VEC = u32(16) + ONE
_SCV_MAP = u32(17) + ONE
_SCV_ADDRESS = u32(18)
_SCV_CONTRACT_INSTANCE = u32(19)
_SCV_NONCE_KEY = u32(21)
_MASK64 = 2**64 - 1


def sc_bool(value: bool) -> bytes:
    return _SCV_BOOL + (ONE if value else ZERO)


def sc_u32(value: int) -> bytes:
    return _SCV_U32 + u32(value)


def sc_u64(value: int) -> bytes:
    return _SCV_U64 + u64(value)


def sc_i64(value: int) -> bytes:
    return _SCV_I64 + i64(value)


def sc_i128(value: int) -> bytes:
    return _SCV_I128 + i64(value >> 64) + u64(value & _MASK64)


def sc_bytes(value: bytes) -> bytes:
    return _SCV_BYTES + opaque(value)


def sc_string(value: str) -> bytes:
    return _SCV_STRING + opaque(value.encode())


def sc_opaque_string(value: bytes) -> bytes:
    """ScVal of a string that need not be UTF-8."""
    return _SCV_STRING + opaque(value)


@lru_cache(maxsize=256)
def sc_symbol(value: str) -> bytes:
    return _SCV_SYMBOL + opaque(value.encode())


@lru_cache(maxsize=65536)
def sc_addr(strkey: str) -> bytes:
    """ScVal of an address."""
    return _SCV_ADDRESS + sc_address(strkey)


def sc_address_value(address: bytes) -> bytes:
    """ScVal of a packed ScAddress."""
    return _SCV_ADDRESS + address


def sc_vec(items: Sequence[bytes]) -> bytes:
    return _SCV_VEC + array(items)


def sc_map(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The keys must be in the order the host sorts them in; for symbols that is alphabetical."""
    return _SCV_MAP + array([key + value for key, value in items])


def sc_error(kind: int, code: int) -> bytes:
    """ScVal of a host error, by ScErrorType and ScErrorCode."""
    return _SCV_ERROR + u32(kind) + u32(code)


BUDGET_EXCEEDED = 7, 5
"""Too much asked for or used: SCE_BUDGET, SCEC_EXCEEDED_LIMIT."""


def sc_nonce_key(nonce: int) -> bytes:
    return _SCV_NONCE_KEY + i64(nonce)


def sc_instance(executable: bytes, storage: bytes | None) -> bytes:
    """A contract instance; `executable` is a packed ContractExecutable, `storage` a packed ScMap (count and items)."""
    return _SCV_CONTRACT_INSTANCE + executable + optional(storage)


def executable_wasm(code_hash: bytes) -> bytes:
    return ZERO + code_hash


EXECUTABLE_STELLAR_ASSET = ONE


# --- assets and ledger keys ------------------------------------------------------------------------------------------

ASSET_NATIVE = ZERO


def asset_credit(code: str, issuer: bytes) -> bytes:
    """Asset of a code of up to 12 characters and the issuer's raw public key."""
    raw = code.encode()
    if len(raw) <= 4:
        return ONE + raw.ljust(4, b"\0") + account_id(issuer)
    return u32(2) + raw.ljust(12, b"\0") + account_id(issuer)


TEMPORARY = 0
PERSISTENT = 1

LEDGER_KEY_ACCOUNT = u32(0)
LEDGER_KEY_TRUSTLINE = u32(1)
LEDGER_KEY_DATA = u32(3)
LEDGER_KEY_CLAIMABLE_BALANCE = u32(4)
LEDGER_KEY_CONTRACT_DATA = u32(6)
LEDGER_KEY_CONTRACT_CODE = u32(7)
LEDGER_KEY_CONFIG_SETTING = u32(8)
LEDGER_KEY_TTL = u32(9)


def key_account(key: bytes) -> bytes:
    return LEDGER_KEY_ACCOUNT + account_id(key)


def key_trustline(key: bytes, asset: bytes) -> bytes:
    return LEDGER_KEY_TRUSTLINE + account_id(key) + asset


def key_data(key: bytes, name: bytes) -> bytes:
    return LEDGER_KEY_DATA + account_id(key) + opaque(name)


def key_claimable_balance(balance_id: bytes) -> bytes:
    return LEDGER_KEY_CLAIMABLE_BALANCE + ZERO + balance_id


def key_contract_data(address: bytes, key: bytes, durability: int) -> bytes:
    """`address` is a packed ScAddress, `key` a packed ScVal, `durability` TEMPORARY or PERSISTENT."""
    return LEDGER_KEY_CONTRACT_DATA + address + key + u32(durability)


def key_contract_code(code_hash: bytes) -> bytes:
    return LEDGER_KEY_CONTRACT_CODE + code_hash


# --- events ----------------------------------------------------------------------------------------------------------


class EventKind(StrEnum):
    """ContractEventType, in the order of its numbers; the values are getEvents' words for them."""

    SYSTEM = "system"
    CONTRACT = "contract"
    DIAGNOSTIC = "diagnostic"


_EVENT_TYPES = {kind: u32(number) for number, kind in enumerate(EventKind)}


def contract_event(contract: bytes | None, kind: EventKind, topics: Sequence[bytes], data: bytes) -> bytes:
    """ContractEvent; `contract` is the raw 32-byte contract hash."""
    return ZERO + optional(contract) + _EVENT_TYPES[kind] + ZERO + array(topics) + data


def diagnostic_event(in_successful_call: bool, event: bytes) -> bytes:
    return (ONE if in_successful_call else ZERO) + event


def transaction_event(stage: int, event: bytes) -> bytes:
    """`stage`: 0 before all transactions, 1 after the transaction, 2 after all transactions."""
    return u32(stage) + event
