"""One work's simulation told as another's: only where nothing else of the farmer's is in it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stellar_sdk import Keypair, StrKey, scval
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.soroban_rpc import SimulateTransactionResponse

from kalepool.chain import entries
from kalepool.chain.alike import Examples, PailToWork, retold
from kalepool.networks import MAINNET
from kalepool.protocol.model import Pail

pytestmark = pytest.mark.anyio

CONTRACT = MAINNET.contract_id
ALICE, BOB = Keypair.random().public_key, Keypair.random().public_key
SMART = StrKey.encode_contract(bytes(range(32)))
MINE = PailToWork(ALICE, 7, Pail(100, None, 5, None))
THEIRS = PailToWork(BOB, 7, Pail(103, None, 9, None))


def answer(of: PailToWork = MINE, gap: int = 20, *, also: tuple[str, ...] = (), **more: Any):
    keys = [entries.instance_key(CONTRACT), entries.block_entry_key(CONTRACT, 7)]
    pail = entries.pail_entry_key(CONTRACT, of.farmer, of.block_index)
    data = stellar_xdr.SorobanTransactionData(
        stellar_xdr.SorobanTransactionDataExt(0),
        stellar_xdr.SorobanResources(
            stellar_xdr.LedgerFootprint(
                [stellar_xdr.LedgerKey.from_xdr(key) for key in also],
                [stellar_xdr.LedgerKey.from_xdr(key) for key in (*keys, pail)],
            ),
            stellar_xdr.Uint32(1_000_000),
            stellar_xdr.Uint32(0),
            stellar_xdr.Uint32(900),
        ),
        stellar_xdr.Int64(12_345),
    )
    known = {
        "transactionData": data.to_xdr(),
        "minResourceFee": "12345",
        "results": [{"auth": [], "xdr": scval.to_uint32(gap).to_xdr()}],
        "latestLedger": 120,
    }
    return SimulateTransactionResponse.model_validate(known | more)


@pytest.mark.parametrize("other", [BOB, SMART], ids=["account", "contract"])
def test_only_the_pail_and_the_gap_are_anothers(other: str) -> None:
    given, theirs = answer(), PailToWork(other, 7, Pail(103, None, 9, None))
    told = retold(CONTRACT, given, MINE, theirs)
    expected = answer(theirs, gap=17)
    assert told is not None and told.results is not None and expected.results is not None
    assert told.results[0].xdr == expected.results[0].xdr
    assert (told.transaction_data, told.min_resource_fee, told.latest_ledger) == (
        expected.transaction_data,
        given.min_resource_fee,
        given.latest_ledger,
    )


def test_what_has_more_of_the_farmers_in_it_is_no_example() -> None:
    restore = {"transactionData": answer().transaction_data, "minResourceFee": "1"}
    auth = [{"auth": ["AAAA"], "xdr": scval.to_uint32(1).to_xdr()}]
    assert retold(CONTRACT, answer(also=(entries.account_key(ALICE),)), MINE, THEIRS) is None
    assert retold(CONTRACT, answer(restorePreamble=restore), MINE, THEIRS) is None
    assert retold(CONTRACT, answer(results=auth), MINE, THEIRS) is None
    assert retold(CONTRACT, answer(results=[]), MINE, THEIRS) is None
    assert retold(CONTRACT, answer(of=THEIRS), MINE, THEIRS) is None
    assert retold(CONTRACT, answer(results=[{"auth": [], "xdr": scval.to_void().to_xdr()}]), MINE, THEIRS) is None


async def test_an_example_is_made_anew_when_it_is_old_or_broken() -> None:
    examples, made = Examples(CONTRACT), []

    def simulate(pail: PailToWork, **more: Any):
        async def run():
            made.append(pail.farmer)
            await asyncio.sleep(0)
            return answer(pail, **more)

        return run

    await asyncio.gather(*(examples.work(each, 110, simulate(each)) for each in (MINE, THEIRS)))
    assert made == [ALICE], "who comes while it is made waits for it"
    await examples.work(THEIRS, 121, simulate(THEIRS, latestLedger=130))
    again = PailToWork(ALICE, 7, Pail(100, 9, 5, 3))
    await examples.work(again, 121, simulate(again, transactionData="rubbish", latestLedger=130))
    assert made == [ALICE, BOB, ALICE], "a pail that was worked is another kind"
    await examples.work(PailToWork(BOB, 7, Pail(103, 9, 9, 3)), 121, simulate(THEIRS))
    assert made[3:] == [BOB], "what cannot be read is no example"
