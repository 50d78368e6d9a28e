"""A worker's finds are claims: what is false is not counted, and who makes many of them goes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Farm
from kalepool.cluster.members import FalseReportError, Member
from kalepool.cluster.messages import Find, Hello, WorkerReport
from kalepool.cluster.placement import WorkerPlace
from kalepool.coordinator import finds
from kalepool.coordinator.finds import FALSE_FINDS, Finds
from kalepool.coordinator.state import CoordinatedFarmer, State
from kalepool.policy.ranges import prefix_range
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import Block

BLOCK = Block(0, 0, 0, 0, 10, 0, 6, bytes(32), 0, 0)
FARMERS = [CoordinatedFarmer(UUID(int=number), Keypair.random().public_key, True) for number in range(40)]
SERIAL = 3
FIRST = prefix_range(SERIAL).start


def member() -> Member:
    nothing: Any = None
    return Member(WorkerPlace("node", "host", "cpu", 0, 1), Hello("1", "host", 1, "python", 1), nothing, [SERIAL])


def report(*found: Find) -> WorkerReport:
    return WorkerReport(7, found, 1, 1.0, 1.0, 1.0, needs_serial=False)


@pytest.fixture
def taking() -> Finds:
    state = State(block_seconds=300, nominal_ledger_seconds=5)
    state.saw_farmers(FARMERS)
    state.saw_farm(Farm(100, None, 7, BLOCK, BLOCK, False))
    nothing: Any = None
    return Finds(state, nothing, UUID(int=0))


def test_what_is_true_counts(taking: Finds) -> None:
    zeros = count_zeros(hash_work(7, FIRST, BLOCK.entropy, FARMERS[0].wallet))
    taking.take(member(), report(Find(FARMERS[0].key, zeros, FIRST)))
    assert (taking.accepted, taking.rejected) == (1, 0)


def test_a_liar_is_not_listened_to_for_long(taking: Finds, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    check = finds.check
    monkeypatch.setattr(finds, "check", lambda *a, **k: hashed.append(a[3]) or check(*a, **k))
    liar = member()
    with pytest.raises(FalseReportError, match="the worker on host is not believed"):
        taking.take(liar, report(*(Find(farmer.key, 64, FIRST + n) for n, farmer in enumerate(FARMERS))))
    assert len(hashed) == FALSE_FINDS + 1, "each costs the coordinator half a millisecond"
    assert taking.accepted == 0
