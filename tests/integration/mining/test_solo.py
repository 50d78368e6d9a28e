"""SOLO: a rig that hashes for its miner's own farmer alone, and nobody who is not its owner can have that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from stellar_sdk import Keypair

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.policy.shares import ShareOutcome
from kalepool.policy.vardiff import Pace
from kalepool.services.mining import Mining, miners
from kalepool.services.mining.credits import Credits
from kalepool.services.mining.dealer import Rig
from kalepool.services.mining.payout_wallets import WalletChangedError
from kalepool.services.mining.service import Offer
from kalepool.services.mining.solo import OtherFarmerError, own_farmer
from tests.integration.mining.conftest import CUSTODY, Field
from tests.integration.mining.test_shares import SLOW, find_nonces, given_job

pytestmark = pytest.mark.anyio


@dataclass
class Owner:
    """A miner that is paid where its farmer's rewards go, too."""

    miner_id: UUID
    wallet: str
    farmer_id: UUID


@pytest.fixture
async def owner(field: Field, database: Database, settings: Settings) -> Owner:
    farmer_id, wallet = next(iter(field.farmers)), Keypair.random().public_key
    await field.execute("UPDATE farmers SET payout_wallet = %s WHERE farmer_id = %s", wallet, farmer_id)
    miner = (await miners.register(database, CUSTODY, settings, "owner", wallet)).miner
    return Owner(miner.miner_id, wallet, farmer_id)


@pytest.fixture
async def solo(owner: Owner, mining: Mining) -> AsyncIterator[Rig]:
    yield await mining.claim_rig(owner.miner_id, "own", hashes_per_second=SLOW, solo=owner.farmer_id)


async def test_a_farmer_is_its_owners_and_no_strangers(
    field: Field, database: Database, settings: Settings, owner: Owner
) -> None:
    for named in (str(owner.farmer_id), field.farmers[owner.farmer_id]):
        assert await own_farmer(database, CUSTODY, owner.miner_id, named) == owner.farmer_id
    others = [(await miners.register(database, CUSTODY, settings, "without")).miner.miner_id]
    others += [(await miners.register(database, CUSTODY, settings, "o", Keypair.random().public_key)).miner.miner_id]
    for miner_id in others:
        with pytest.raises(OtherFarmerError, match="is no farmer of yours"):
            await own_farmer(database, CUSTODY, miner_id, str(owner.farmer_id))
    for named in (str(list(field.farmers)[1]), str(UUID(int=5)), "G" + "A" * 55):
        with pytest.raises(OtherFarmerError):
            await own_farmer(database, CUSTODY, owner.miner_id, named)

    # An exchange's account is many people's.
    for memos in ((None, "text:7"), ("text:7", None)):
        await field.execute("UPDATE miners SET payout_memo = %s WHERE miner_id = %s", memos[0], owner.miner_id)
        await field.execute("UPDATE farmers SET payout_memo = %s WHERE farmer_id = %s", memos[1], owner.farmer_id)
        with pytest.raises(OtherFarmerError):
            await own_farmer(database, CUSTODY, owner.miner_id, str(owner.farmer_id))
    # Nor does it help to write the wallet into the database, past the pool.
    await field.execute("UPDATE farmers SET payout_memo = NULL")
    await field.execute("UPDATE miners SET payout_wallet = %s WHERE miner_id = %s", owner.wallet, others[1])
    with pytest.raises(WalletChangedError):
        await own_farmer(database, CUSTODY, others[1], str(owner.farmer_id))
    await field.execute("UPDATE farmers SET status = 'departed' WHERE farmer_id = %s", owner.farmer_id)
    with pytest.raises(OtherFarmerError):
        await own_farmer(database, CUSTODY, owner.miner_id, str(owner.farmer_id))


async def test_its_hashes_go_to_its_own_farmer_and_into_nobodys_part(
    field: Field, database: Database, settings: Settings, mining: Mining, owner: Owner, solo: Rig
) -> None:
    given = await given_job(mining, solo)
    assert given.solo and given.place.farmer_id == owner.farmer_id
    answers = await mining.take_shares(
        owner.miner_id, [Offer(given.job.job_id, str(nonce)) for nonce in find_nonces(given, 3)]
    )
    assert {answer.outcome for answer in answers} == {ShareOutcome.ACCEPTED}
    mining.dealer.deal(datetime.now(UTC))
    assert solo.given is not None and solo.given.place.farmer_id == owner.farmer_id, "though others have fewer zeros"

    # The same miner's other rig works for all, and whoever does is placed as if the first were not there.
    common = await mining.claim_rig(owner.miner_id, "common", hashes_per_second=SLOW)
    shared = await given_job(mining, common)
    assert not shared.solo and shared.place.farmer_id != owner.farmer_id, "others have fewer zeros"
    [nonce] = find_nonces(shared, 1)
    await mining.take_shares(owner.miner_id, [Offer(shared.job.job_id, str(nonce))])

    assert await field.execute("SELECT solo, count(*) FROM shares GROUP BY 1 ORDER BY 1") == [(False, 1), (True, 3)]
    [block] = await Credits(database, settings).read([41])
    assert block.window_hashes == {str(owner.miner_id): shared.job.difficulty}
    record = await miners.read_record(database, owner.miner_id)
    assert record.shares == {"accepted": 1, "solo": 3}
    assert record.hashrates[60].hashes_per_second > 0


async def test_no_power_is_reckoned_with_that_others_cannot_have(mining: Mining, field: Field, owner: Owner) -> None:
    """A farmer with a strong rig of its own gets its equal part of the common ones all the same."""
    now = datetime.now(UTC)

    def dealt(own_rig: bool) -> Mapping[int, UUID]:
        mining.dealer.rigs.clear()
        for number in range(8):
            rig = Rig(owner.miner_id, str(number), 1000 + number, Pace(2**20, now), seen_at=now, proven=True)
            mining.dealer.rigs[rig.searcher] = rig
        if own_rig:
            strong = Rig(owner.miner_id, "own", 2000, Pace(2**40, now), seen_at=now, proven=True, solo=owner.farmer_id)
            mining.dealer.rigs[strong.searcher] = strong
        mining.dealer.serials.extend(range(100, 140))
        mining.dealer.deal(now)
        return {
            searcher: rig.given.place.farmer_id
            for searcher, rig in mining.dealer.rigs.items()
            if rig.given is not None and searcher != 2000
        }

    without = dealt(False)
    assert len(without) == 8 and dealt(True) == without


async def test_while_its_farmer_is_in_no_block_it_hashes_for_all(
    field: Field, mining: Mining, owner: Owner, solo: Rig
) -> None:
    first = await given_job(mining, solo)
    await field.execute("UPDATE farmers SET paused = true WHERE farmer_id = %s", owner.farmer_id)
    await mining._load_places()
    solo.given_at = None
    mining.dealer.deal(datetime.now(UTC))
    common = await given_job(mining, solo)
    assert not common.solo and common.place.farmer_id != owner.farmer_id
    [nonce] = find_nonces(common, 1)
    [answer] = await mining.take_shares(owner.miner_id, [Offer(common.job.job_id, str(nonce))])
    assert answer.outcome is ShareOutcome.ACCEPTED
    assert await field.execute("SELECT solo FROM shares") == [(False,)]
    await field.execute("UPDATE farmers SET paused = false")
    await mining._load_places()
    solo.given_at = None
    mining.dealer.deal(datetime.now(UTC))
    again = await given_job(mining, solo)
    assert again.solo and again.job.job_id != first.job.job_id


async def test_a_rig_goes_over_to_solo_and_back_with_other_jobs(mining: Mining, owner: Owner) -> None:
    """Of the same farmer, too: whether a share is SOLO is said by its job, not by whoever brings it."""
    for farmer_id, place in mining.dealer.places.items():
        place.zeros = 0 if farmer_id == owner.farmer_id else 9
    jobs = []
    for solo in (None, owner.farmer_id, None):
        rig = await mining.claim_rig(owner.miner_id, "a", hashes_per_second=SLOW, solo=solo)
        rig.given_at = None
        mining.dealer.deal(datetime.now(UTC))
        jobs.append(await given_job(mining, rig))
    assert [job.solo for job in jobs] == [False, True, False]
    assert {job.place.farmer_id for job in jobs} == {owner.farmer_id} and len({job.job.job_id for job in jobs}) == 3
