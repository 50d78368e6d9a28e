"""Sponsored reserves end as in stellar-core; each case names the line of its source that decides."""

from __future__ import annotations

import pytest
from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import AccountEntry, unpack_data
from kalepool.devnet.settings import BASE_RESERVE
from tests.support.core_cases import (
    KALE,
    SOURCE_LINE,
    UNIT,
    Case,
    Fork,
    Step,
    World,
    begin_sponsoring,
    claim,
    create,
    data,
    end_sponsoring,
    hold,
    keypair,
    merge,
    names,
    options,
    pay,
    signer_key,
    trust,
)

BEGIN, END = "BeginSponsoringFutureReservesOpFrame.cpp", "EndSponsoringFutureReservesOpFrame.cpp"
BEGUN, ENDED = "BEGIN_SPONSORING_FUTURE_RESERVES_SUCCESS", "END_SPONSORING_FUTURE_RESERVES_SUCCESS"


def sponsored(name: str, *operations: xdr.Operation, by: str | None = None) -> list[xdr.Operation]:
    return [begin_sponsoring(name, by), *operations, end_sponsoring(name)]


NEW = sponsored("new", create("new", 0), trust(KALE, source="new"))
"""An account without any XLM, that trusts KALE."""

CASES = [
    Case(
        "an account without XLM",
        NEW,
        [BEGUN, "CREATE_ACCOUNT_SUCCESS", "CHANGE_TRUST_SUCCESS", ENDED],
        "SponsorshipUtils.cpp:773",
        signers=("new",),
    ),
    Case(
        "without a sponsor it needs its reserve",
        [create("new", 0)],
        ["CREATE_ACCOUNT_LOW_RESERVE"],
        "SponsorshipUtils.cpp:510",
    ),
    Case(
        "oneself",
        [begin_sponsoring("alice")],
        ["BEGIN_SPONSORING_FUTURE_RESERVES_MALFORMED"],
        f"{BEGIN}:109",
        refused=True,
    ),
    Case(
        "one that is sponsored already",
        [begin_sponsoring("carol"), begin_sponsoring("carol", "bob"), end_sponsoring("carol")],
        [BEGUN, "BEGIN_SPONSORING_FUTURE_RESERVES_ALREADY_SPONSORED", ENDED],
        f"{BEGIN}:70",
        signers=("bob", "carol"),
    ),
    Case(
        "by one that is sponsored itself",
        [begin_sponsoring("bob"), begin_sponsoring("carol", "bob"), end_sponsoring("bob")],
        [BEGUN, "BEGIN_SPONSORING_FUTURE_RESERVES_RECURSIVE", ENDED],
        f"{BEGIN}:77",
        signers=("bob",),
    ),
    Case(
        "one that sponsors itself",
        [begin_sponsoring("carol", "bob"), begin_sponsoring("bob"), end_sponsoring("carol")],
        [BEGUN, "BEGIN_SPONSORING_FUTURE_RESERVES_RECURSIVE", ENDED],
        f"{BEGIN}:82",
        signers=("bob", "carol"),
    ),
    Case(
        "two by one",
        [begin_sponsoring("bob"), begin_sponsoring("carol"), end_sponsoring("bob"), end_sponsoring("carol")],
        [BEGUN, BEGUN, ENDED, ENDED],
        f"{BEGIN}:94",
        signers=("bob", "carol"),
    ),
    Case("ended before it began", [end_sponsoring()], ["END_SPONSORING_FUTURE_RESERVES_NOT_SPONSORED"], f"{END}:38"),
    Case(
        "never ended",
        [begin_sponsoring("bob"), data(b"name", source="bob")],
        [],
        "TransactionFrame.cpp:2460",
        signers=("bob",),
        code="txBAD_SPONSORSHIP",
    ),
    Case(
        "by one who has no reserve to give",
        sponsored("new", create("new", 0)),
        [BEGUN, "CREATE_ACCOUNT_LOW_RESERVE", "opNO_ACCOUNT"],
        "SponsorshipUtils.cpp:64",
        source="tight",
        signers=("new",),
    ),
    Case(
        "a trustline by one who has no reserve to give",
        sponsored("bob", data(b"name", source="bob")),
        [BEGUN, "MANAGE_DATA_LOW_RESERVE", ENDED],
        "SponsorshipUtils.cpp:64",
        source="poor",
        signers=("bob",),
    ),
    Case(
        "what is given counts against what is paid",
        sponsored("new", create("new", UNIT // 2)),
        [BEGUN, "CREATE_ACCOUNT_UNDERFUNDED", "opNO_ACCOUNT"],
        "CreateAccountOpFrame.cpp:121",
        source="rich",
        signers=("new",),
        before=[Step("alice", [create("rich", 2 * UNIT + 1_000)])],
    ),
    Case(
        "a data entry of one who has no reserve for it",
        sponsored("poor", data(b"name", source="poor")),
        [BEGUN, "MANAGE_DATA_SUCCESS", ENDED],
        "SponsorshipUtils.cpp:778",
        signers=("poor",),
    ),
    Case(
        "a claimable balance",
        sponsored("tight", hold(["bob", "carol"], 1, source="tight")),
        [BEGUN, "CREATE_CLAIMABLE_BALANCE_SUCCESS", ENDED],
        "SponsorshipUtils.cpp:768",
        signers=("tight",),
    ),
    Case(
        "merging while it sponsors",
        [begin_sponsoring("bob"), merge("alice"), end_sponsoring("bob")],
        [BEGUN, "ACCOUNT_MERGE_IS_SPONSOR", ENDED],
        "MergeOpFrame.cpp:232",
        source="carol",
        signers=("bob",),
    ),
    Case(
        "merging while it pays for another's entries",
        [merge("alice")],
        ["ACCOUNT_MERGE_IS_SPONSOR"],
        "MergeOpFrame.cpp:238",
        source="carol",
        before=[Step("carol", sponsored("bob", data(b"name", source="bob")), ("bob",))],
    ),
    Case(
        "an account that is sponsored goes into its sponsor",
        [trust(KALE, 0, source="new"), merge("alice", source="new")],
        ["CHANGE_TRUST_SUCCESS", "ACCOUNT_MERGE_SUCCESS"],
        "SponsorshipUtils.cpp:837",
        signers=("new",),
        before=[Step("alice", NEW, ("new",))],
    ),
    Case(
        "what it gets is its own to spend, to the last stroop",
        [pay("bob", 7, source="new")],
        ["PAYMENT_SUCCESS"],
        "SponsorshipUtils.cpp:679",
        signers=("new",),
        before=[Step("alice", [*NEW, pay("new", 7)], ("new",))],
    ),
    Case(
        "and no more",
        [pay("bob", 8, source="new")],
        ["PAYMENT_UNDERFUNDED"],
        "PaymentOpFrame.cpp:124",
        signers=("new",),
        before=[Step("alice", [*NEW, pay("new", 7)], ("new",))],
    ),
]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_sponsorship_ends_as_in_stellar_core(world: World, case: Case) -> None:
    assert SOURCE_LINE.fullmatch(case.at), "a case names its source"
    fork = world.fork()
    refused, result, _ = fork.run(case)
    assert names(result) == list(case.results)
    assert (refused, result.result.code.name) == (case.refused, case.expected_code)
    fork.close()  # and ledgers go on


def account(fork: Fork, name: str) -> tuple[AccountEntry, bytes | None]:
    entry = fork.ledger.entries[wire.key_account(keypair(name).raw_public_key())]
    assert unpack_data(entry.pack_data()) == entry.data, "the store reads what it wrote"
    assert isinstance(entry.data, AccountEntry)
    return entry.data, entry.sponsor


def test_who_pays_stands_in_the_entries_until_they_are_gone(world: World) -> None:
    """establishEntrySponsorship, removeEntrySponsorship: numbers of both accounts, and the sponsor of each entry."""
    fork = world.fork()
    alice, new = (keypair(name).raw_public_key() for name in ("alice", "new"))
    before, _ = account(fork, "alice")
    fork.step(Step("alice", NEW, ("new",)))
    rich, _ = account(fork, "alice")
    poor, sponsor = account(fork, "new")
    assert (rich.sponsoring, rich.minimum_balance - before.minimum_balance) == (3, 3 * BASE_RESERVE)
    assert (poor.balance, poor.subentries, poor.sponsored, poor.minimum_balance, sponsor) == (0, 1, 3, 0, alice)
    fork.step(Step("issuer", [pay("new", 5 * UNIT, KALE)]))  # who is paid keeps its sponsor
    fork.step(Step("alice", [pay("new", UNIT)]))
    line = fork.ledger.entries[wire.key_trustline(new, KALE.to_xdr_bytes())]
    parsed = xdr.LedgerEntry.from_xdr_bytes(line.pack())
    assert line.sponsor == account(fork, "new")[1] == alice
    assert parsed.ext.v1 is not None and parsed.ext.v1.sponsoring_id.sponsorship_descriptor is not None
    fork.step(Step("new", [pay("issuer", 5 * UNIT, KALE), trust(KALE, 0)]))
    assert (account(fork, "alice")[0].sponsoring, account(fork, "new")[0].sponsored) == (2, 2)
    fork.step(Step("new", [merge("bob")]))
    assert account(fork, "alice")[0].sponsoring == 0
    assert wire.key_account(new) not in fork.ledger.entries


def test_a_claimable_balance_and_data_are_paid_for_by_the_sponsor(world: World) -> None:
    fork = world.fork()
    given = [hold(["bob", "carol"], 1, source="tight"), data(b"name", source="tight")]
    fork.step(Step("alice", sponsored("tight", *given), ("tight",)))
    assert (account(fork, "alice")[0].sponsoring, account(fork, "tight")[0].sponsored) == (3, 1)
    fork.step(Step("bob", [claim()]))
    fork.step(Step("tight", [data(b"name", b"more")]))
    fork.step(Step("tight", [data(b"name", None)]))
    assert (account(fork, "alice")[0].sponsoring, account(fork, "tight")[0].sponsored) == (0, 0)


def test_nothing_of_a_sponsorship_that_was_not_ended_holds(world: World) -> None:
    fork = world.fork()
    fork.run(Case("", [begin_sponsoring("new"), create("new", 0)], [], "", signers=("new",)))
    assert account(fork, "alice")[0].sponsoring == 0
    assert wire.key_account(keypair("new").raw_public_key()) not in fork.ledger.entries


def test_signers_are_not_sponsored_here(world: World) -> None:
    fork = world.fork()
    signer = options(signer=(signer_key("bob"), 1), source="carol")
    _, result, _ = fork.run(Case("", sponsored("carol", signer), [], "", signers=("carol",)))
    assert names(result)[1] == "opNOT_SUPPORTED"
