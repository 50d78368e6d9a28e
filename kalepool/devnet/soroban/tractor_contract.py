"""The tractor contract (KaleFail Tractor 2): harvests many pails of one farmer in one transaction."""

from __future__ import annotations

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import ContractData
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.host import COST_CALL, WASM_MISSING, CallError, SorobanHost, read_args, trap
from kalepool.devnet.soroban.kale_contract import escalate, extend_instance, fail_with_error
from kalepool.devnet.wire import sc_symbol

NO_PAILS_PROVIDED = 1
NO_HARVESTABLE_PAILS = 2


class Tractor:
    """`harvest(farmer, pails: Vec<u32>) -> Vec<i128>`: 0 for a pail that cannot be harvested."""

    def __init__(self, code_hash: bytes, farm: bytes) -> None:
        self.code_hash = code_hash
        self.farm = farm

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        host.charge(COST_CALL)
        host.load(wire.key_contract_code(self.code_hash))
        if function != "harvest":
            raise host.error(WASM_MISSING, "trying to invoke non-existent contract function", sc_symbol(function))
        farmer, pails = read_args(host, function, args, ("address", "vec"))
        if any(pail.kind != "u32" for pail in pails):
            raise trap(host, function)
        if not pails:
            raise fail_with_error(host, NO_PAILS_PROVIDED)
        rewards = []
        for pail in pails:
            try:
                reward = host.try_call(self.farm, "harvest", (wire.sc_addr(farmer), wire.sc_u32(pail.value)))
            except CallError as error:
                raise escalate(host, error.error, "try_call") from None
            rewards.append(0 if reward is None else scv.decode(reward).value)
        if sum(rewards) == 0:
            raise fail_with_error(host, NO_HARVESTABLE_PAILS)
        extend_instance(host, contract, self.code_hash)
        return wire.sc_vec([wire.sc_i128(reward) for reward in rewards])


def pack_tractor_instance(contract: bytes, code_hash: bytes, farm: bytes) -> ContractData:
    """The tractor's instance entry: it remembers the farm."""
    storage = wire.array([sc_symbol("FARM") + wire.sc_addr(wire.contract_strkey(farm))])
    value = wire.sc_instance(wire.executable_wasm(code_hash), storage)
    return ContractData(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT, value)
