"""The Wasm modules behind the devnet's contract ids.

They carry no code, only the custom sections every Soroban contract has: the specification of its functions (so that
SDKs can make a client from the contract id alone), its metadata and the environment's version. Layouts: SEP-46, SEP-48.
"""

from __future__ import annotations

from stellar_sdk import xdr

from kalepool.contract_errors import CONTRACT_ERRORS
from kalepool.devnet.settings import PROTOCOL_VERSION

_Spec = xdr.SCSpecTypeDef
_Type = xdr.SCSpecType


def _section(name: str, payload: bytes) -> bytes:
    content = _leb128(len(name)) + name.encode() + payload
    return b"\x00" + _leb128(len(content)) + content


def _leb128(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _vec(element: xdr.SCSpecTypeDef) -> xdr.SCSpecTypeDef:
    return _Spec(_Type.SC_SPEC_TYPE_VEC, vec=xdr.SCSpecTypeVec(element))


def _plain(kind: xdr.SCSpecType) -> xdr.SCSpecTypeDef:
    return _Spec(kind)


_ADDRESS = _plain(_Type.SC_SPEC_TYPE_ADDRESS)
_U32 = _plain(_Type.SC_SPEC_TYPE_U32)
_U64 = _plain(_Type.SC_SPEC_TYPE_U64)
_I128 = _plain(_Type.SC_SPEC_TYPE_I128)
_HASH = _Spec(_Type.SC_SPEC_TYPE_BYTES_N, bytes_n=xdr.SCSpecTypeBytesN(xdr.Uint32(32)))


def _function(
    name: str, inputs: dict[str, xdr.SCSpecTypeDef], output: xdr.SCSpecTypeDef | None = None, doc: str = ""
) -> xdr.SCSpecEntry:
    function = xdr.SCSpecFunctionV0(
        doc=doc.encode(),
        name=xdr.SCSymbol(name.encode()),
        inputs=[xdr.SCSpecFunctionInputV0(b"", key.encode(), kind) for key, kind in inputs.items()],
        outputs=[] if output is None else [output],
    )
    return xdr.SCSpecEntry(xdr.SCSpecEntryKind.SC_SPEC_ENTRY_FUNCTION_V0, function_v0=function)


def _errors(name: str, cases: list[str]) -> xdr.SCSpecEntry:
    enum = xdr.SCSpecUDTErrorEnumV0(
        doc=b"",
        lib=b"",
        name=name.encode(),
        cases=[xdr.SCSpecUDTErrorEnumCaseV0(b"", case.encode(), xdr.Uint32(n)) for n, case in enumerate(cases, 1)],
    )
    return xdr.SCSpecEntry(xdr.SCSpecEntryKind.SC_SPEC_ENTRY_UDT_ERROR_ENUM_V0, udt_error_enum_v0=enum)


def _module(entries: list[xdr.SCSpecEntry]) -> bytes:
    version = b"\x00\x00\x00\x00" + PROTOCOL_VERSION.to_bytes(4, "big") + b"\x00\x00\x00\x00"
    return (
        b"\0asm\x01\0\0\0"
        + _section("contractspecv0", b"".join(entry.to_xdr_bytes() for entry in entries))
        + _section("contractenvmetav0", version)
    )


KALE_CODE = _module(
    [
        _function("plant", {"farmer": _ADDRESS, "amount": _I128}),
        _function("work", {"farmer": _ADDRESS, "hash": _HASH, "nonce": _U64}, _U32),
        _function("harvest", {"farmer": _ADDRESS, "index": _U32}, _I128),
        _function("pause", {}),
        _function("unpause", {}),
        _function("remove_block", {"index": _U32}),
        _errors("Errors", [cls.__name__.removesuffix("Error") for _, cls in sorted(CONTRACT_ERRORS.items())]),
    ]
)

_VAL = _plain(_Type.SC_SPEC_TYPE_VAL)
_STRINGS = _Spec(
    _Type.SC_SPEC_TYPE_MAP,
    map=xdr.SCSpecTypeMap(_plain(_Type.SC_SPEC_TYPE_SYMBOL), _plain(_Type.SC_SPEC_TYPE_STRING)),
)

ACCOUNT_CODE = _module(
    [
        _function("__constructor", {"owner": _HASH}),
        _function("__check_auth", {"signature_payload": _HASH, "signatures": _vec(_VAL), "auth_contexts": _vec(_VAL)}),
        _errors("AccError", ["NotEnoughSigners", "NegativeAmount", "BadSignatureOrder", "UnknownSigner"]),
    ]
)

WEB_AUTH_CODE = _module(
    [_function("web_auth_verify", {"args": _STRINGS}), _errors("WebAuthError", ["MissingArgument"])]
)

TRACTOR_CODE = _module(
    [
        _function("harvest", {"farmer": _ADDRESS, "pails": _vec(_U32)}, _vec(_I128)),
        _errors("Error", ["NoPailsProvided", "NoHarvestablePails"]),
    ]
)
