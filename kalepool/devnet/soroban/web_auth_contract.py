"""The web authentication contract of SEP-45: it has those who sign a challenge authorise the call, and no more."""

from __future__ import annotations

from stellar_sdk import StrKey

from kalepool.devnet import wire
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.host import COST_CALL, WASM_MISSING, SorobanHost, read_args, trap
from kalepool.devnet.soroban.kale_contract import extend_instance, fail_with_error
from kalepool.devnet.wire import sc_symbol

MISSING_ARGUMENT = 1
_REQUIRED = ("account", "web_auth_domain_account")


class WebAuthContract:
    """`web_auth_verify(args: Map<Symbol, String>)`, as stellar/sep45-reference has it."""

    def __init__(self, code_hash: bytes) -> None:
        self.code_hash = code_hash

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        host.charge(COST_CALL)
        host.load(wire.key_contract_code(self.code_hash))
        if function != "web_auth_verify":
            raise host.error(WASM_MISSING, "trying to invoke non-existent contract function", sc_symbol(function))
        [pairs] = read_args(host, function, args, ("map",))
        if any(key.kind != "symbol" or value.kind != "string" for key, value in pairs):
            raise trap(host, function)
        given = {key.value: _text(value) for key, value in pairs}
        for name in (*_REQUIRED, "client_domain_account"):
            if name in given:
                if not (StrKey.is_valid_contract(given[name]) or StrKey.is_valid_ed25519_public_key(given[name])):
                    raise trap(host, function)
                host.require_auth(given[name], function, args)
            elif name in _REQUIRED:
                raise fail_with_error(host, MISSING_ARGUMENT)
        extend_instance(host, contract, self.code_hash)
        return wire.SCV_VOID


def _text(value: scv.Val) -> str:
    return value.value.decode(errors="replace") if isinstance(value.value, bytes) else value.value
