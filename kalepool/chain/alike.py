"""One simulation for all works of a block: they differ in whose pail they write, and in nothing that costs more.

A work writes the farm's instance, its block and its own pail, and needs nobody's signature. A pail's first work makes
it grow, a later one does not: so each kind has an example of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stellar_sdk import Address, scval
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.soroban_rpc import SimulateHostFunctionResult, SimulateTransactionResponse

from kalepool.chain import entries
from kalepool.chain.decoding import plain_value
from kalepool.protocol.model import Pail


@dataclass(frozen=True, slots=True)
class PailToWork:
    """Whose work it is: `pail` as it is on the chain now."""

    farmer: str
    block_index: int
    pail: Pail

    @property
    def kind(self) -> tuple[int, bool]:
        return self.block_index, self.pail.zeros is not None


def retold(
    contract_id: str, simulation: SimulateTransactionResponse, example: PailToWork, other: PailToWork
) -> SimulateTransactionResponse | None:
    """The simulation of `example`'s work as `other`'s: its pail in the footprint, its gap returned. None where it says
    nothing of another's: there is something to restore or to sign, or the footprint has more of the farmer's."""
    if simulation.restore_preamble is not None or not simulation.transaction_data or not simulation.results:
        return None
    data = stellar_xdr.SorobanTransactionData.from_xdr(simulation.transaction_data)
    footprint = data.resources.footprint
    mine = entries.pail_entry_key(contract_id, example.farmer, example.block_index)
    theirs = entries.pail_entry_key(contract_id, other.farmer, other.block_index)
    written = [key.to_xdr() for key in footprint.read_write]
    rest = [key.to_xdr_bytes() for key in (*footprint.read_only, *footprint.read_write) if key.to_xdr() != mine]
    whose = Address(example.farmer).key
    gap = plain_value(simulation.results[0].xdr)
    is_alone = written.count(mine) == 1 and not any(whose in key for key in rest)
    if not is_alone or simulation.results[0].auth or not isinstance(gap, int):
        return None
    footprint.read_write = [
        stellar_xdr.LedgerKey.from_xdr(theirs if written_key == mine else written_key) for written_key in written
    ]
    gap = max(gap + example.pail.sequence - other.pail.sequence, 0)
    result = SimulateHostFunctionResult(auth=[], xdr=scval.to_uint32(gap).to_xdr())
    return simulation.model_copy(update={"transaction_data": data.to_xdr(), "results": [result]})


class Examples:
    """`work(pail, oldest, simulate)`: a work's simulation, of ledger `oldest` or later: who asks first has its own
    made, and all others of the kind have that one retold."""

    def __init__(self, contract_id: str) -> None:
        self._contract_id = contract_id
        self._made: dict[tuple[int, bool], asyncio.Future[tuple[PailToWork, SimulateTransactionResponse] | None]] = {}

    async def work(
        self, pail: PailToWork, oldest: int, simulate: Callable[[], Awaitable[SimulateTransactionResponse]]
    ) -> SimulateTransactionResponse:
        """Raises as `simulate`: what is wrong with one work is told of that one only."""
        made = self._made.get(pail.kind)
        if made is None or (made.done() and not _is_of(made.result(), oldest)):
            return await self._make(pail, simulate)
        example = await asyncio.shield(made)
        try:
            found = None if example is None else retold(self._contract_id, example[1], example[0], pail)
        except (ValueError, TypeError, KeyError, EOFError, AttributeError, AssertionError):  # an answer with a gap
            found = None
        return found if found is not None else await simulate()

    async def _make(
        self, pail: PailToWork, simulate: Callable[[], Awaitable[SimulateTransactionResponse]]
    ) -> SimulateTransactionResponse:
        self._made = {kind: made for kind, made in self._made.items() if kind[0] == pail.block_index}
        made = self._made[pail.kind] = asyncio.get_running_loop().create_future()
        try:
            simulation = await simulate()
        except BaseException:
            made.set_result(None)
            raise
        made.set_result((pail, simulation))
        return simulation


def _is_of(example: tuple[PailToWork, SimulateTransactionResponse] | None, oldest: int) -> bool:
    return example is not None and (example[1].latest_ledger or 0) >= oldest
