"""Classic operations end as stellar-core ends them; each case names the line of its source that decides."""

from __future__ import annotations

import pytest
from stellar_sdk import xdr

from tests.support.core_cases import (
    ALWAYS,
    INVALID_ASSETS,
    KALE,
    LIMIT,
    OPEN,
    SOURCE_LINE,
    STRICT,
    UNIT,
    XLM,
    Case,
    Step,
    World,
    before_time,
    both,
    bump,
    claim,
    claw_back_balance,
    create,
    data,
    either,
    hold,
    merge,
    names,
    negated,
    nested,
    options,
    pay,
    signer_key,
    trust,
    within,
)

FUTURE, PAST = before_time(1_900_000_000), before_time(1_700_000_000)
BOB_MAY = [Step("alice", [hold(["bob"], 5 * UNIT, KALE)])]
STRICT_FOR_ERIN = [Step("strict", [hold(["erin", "dave"], 5 * UNIT, STRICT)])]


def claims(name: str, predicate: xdr.ClaimPredicate, *, may: bool, at: str, seconds: int = 1) -> Case:
    """Bob claims what alice holds for him under a predicate."""
    result = "CLAIM_CLAIMABLE_BALANCE_SUCCESS" if may else "CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM"
    before = [Step("alice", [hold({"bob": predicate}, UNIT)])]
    at = f"ClaimClaimableBalanceOpFrame.cpp:{at}"
    return Case(f"claim {name}", [claim()], [result], at, source="bob", before=before, seconds=seconds)


def malformed(name: str, operation: xdr.Operation, result: str, at: str, source: str = "alice") -> Case:
    """An operation that is refused without a look at the ledger."""
    return Case(f"malformed {name}", [operation], [result], at, source=source, refused=True)


CREATE, CLAIM, DATA = "CreateClaimableBalanceOpFrame.cpp", "ClaimClaimableBalanceOpFrame.cpp", "ManageDataOpFrame.cpp"
CLAW = "ClawbackClaimableBalanceOpFrame.cpp"
BAD_HOLD = "CREATE_CLAIMABLE_BALANCE_MALFORMED"

CLAIMABLE_BALANCES = [
    Case("hold XLM", [hold(["bob"], UNIT)], ["CREATE_CLAIMABLE_BALANCE_SUCCESS"], f"{CREATE}:257"),
    Case(
        "hold KALE for ten",
        [hold([f"c{n}" for n in range(10)], UNIT, KALE)],
        ["CREATE_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CREATE}:257",
    ),
    Case(
        "hold an asset of one's own",
        [hold(["bob"], UNIT, KALE)],
        ["CREATE_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CREATE}:257",
        source="issuer",
    ),
    Case(
        "hold more XLM than there is",
        [hold(["bob"], 2_000 * UNIT)],
        ["CREATE_CLAIMABLE_BALANCE_UNDERFUNDED"],
        f"{CREATE}:169",
    ),
    Case(
        "hold the reserve",
        [hold(["bob"], UNIT)],
        ["CREATE_CLAIMABLE_BALANCE_UNDERFUNDED"],
        f"{CREATE}:169",
        source="poor",
    ),
    Case(
        "hold without a trustline",
        [hold(["bob"], UNIT, KALE)],
        ["CREATE_CLAIMABLE_BALANCE_NO_TRUST"],
        f"{CREATE}:181",
        source="carol",
    ),
    Case(
        "hold unauthorised",
        [hold(["bob"], UNIT, STRICT)],
        ["CREATE_CLAIMABLE_BALANCE_NOT_AUTHORIZED"],
        f"{CREATE}:186",
        source="erin",
    ),
    Case(
        "hold more KALE than there is",
        [hold(["bob"], 1_001 * UNIT, KALE)],
        ["CREATE_CLAIMABLE_BALANCE_UNDERFUNDED"],
        f"{CREATE}:192",
    ),
    Case(
        "hold without a reserve",
        [hold(["bob"], 100)],
        ["CREATE_CLAIMABLE_BALANCE_LOW_RESERVE"],
        f"{CREATE}:234",
        source="poor",
    ),
    Case(
        "hold with a reserve for one",
        [hold(["bob"], 100)],
        ["CREATE_CLAIMABLE_BALANCE_SUCCESS"],
        "SponsorshipUtils.cpp:64",
        source="tight",
    ),
    Case(
        "a reserve for each claimant",
        [hold(["bob", "carol"], 100)],
        ["CREATE_CLAIMABLE_BALANCE_LOW_RESERVE"],
        "SponsorshipUtils.cpp:207",
        source="tight",
    ),
    malformed("hold nothing", hold(["bob"], 0), BAD_HOLD, f"{CREATE}:271"),
    malformed("hold less than nothing", hold(["bob"], -1), BAD_HOLD, f"{CREATE}:271"),
    malformed("hold for nobody", hold([], UNIT), BAD_HOLD, f"{CREATE}:271"),
    Case(
        "hold for one twice",
        [
            xdr.Operation(
                None,
                xdr.OperationBody(
                    xdr.OperationType.CREATE_CLAIMABLE_BALANCE,
                    create_claimable_balance_op=xdr.CreateClaimableBalanceOp(
                        XLM,
                        xdr.Int64(1),
                        hold(["bob"], 1).body.create_claimable_balance_op.claimants * 2,  # pyright: ignore
                    ),
                ),
            )
        ],
        [BAD_HOLD],
        f"{CREATE}:282",
        refused=True,
    ),
    malformed("an AND of one", hold({"bob": both(ALWAYS)}, 1), BAD_HOLD, f"{CREATE}:291"),
    malformed("an AND of none", hold({"bob": both()}, 1), BAD_HOLD, f"{CREATE}:291"),
    malformed("an OR of one", hold({"bob": either(ALWAYS)}, 1), BAD_HOLD, f"{CREATE}:291"),
    malformed("a NOT of nothing", hold({"bob": negated(None)}, 1), BAD_HOLD, f"{CREATE}:109"),
    malformed("a time before 1970", hold({"bob": before_time(-1)}, 1), BAD_HOLD, f"{CREATE}:117"),
    malformed("a time span below 0", hold({"bob": within(-1)}, 1), BAD_HOLD, f"{CREATE}:119"),
    malformed("a predicate of five levels", hold({"bob": nested(5)}, 1), BAD_HOLD, f"{CREATE}:77"),
    Case(
        "a predicate of four levels",
        [hold({"bob": nested(4)}, 1)],
        ["CREATE_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CREATE}:77",
    ),
    *(
        malformed(f"hold a code {name}", hold(["bob"], UNIT, code), BAD_HOLD, "util/types.cpp:149")
        for name, code in INVALID_ASSETS.items()
    ),
    claims("at any time", ALWAYS, may=True, at="192"),
    claims("before a time to come", FUTURE, may=True, at="92"),
    claims("after the time", PAST, may=False, at="139"),
    claims("not before a time that is over", negated(PAST), may=True, at="90"),
    claims("not before a time to come", negated(FUTURE), may=False, at="90"),
    claims("both", both(FUTURE, ALWAYS), may=True, at="78"),
    claims("only one of both", both(FUTURE, PAST), may=False, at="78"),
    claims("either", either(PAST, FUTURE), may=True, at="86"),
    claims("neither", either(PAST, negated(ALWAYS)), may=False, at="86"),
    claims("within a span", within(10), may=True, at="92", seconds=9),
    claims("at the end of a span", within(10), may=False, at="92", seconds=10),
    claims("not within a span that is over", negated(within(10)), may=True, at="90", seconds=10),
    claims("within the longest span", within(LIMIT), may=True, at="92"),
    Case(
        "claim what is not there",
        [claim(b"nothing")],
        ["CLAIM_CLAIMABLE_BALANCE_DOES_NOT_EXIST"],
        f"{CLAIM}:121",
    ),
    Case(
        "claim what is another's",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM"],
        f"{CLAIM}:139",
        source="carol",
        before=BOB_MAY,
    ),
    Case(
        "claim what is one's own no more",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM"],
        f"{CLAIM}:139",
        before=BOB_MAY,
    ),
    Case("claim KALE", [claim()], ["CLAIM_CLAIMABLE_BALANCE_SUCCESS"], f"{CLAIM}:192", source="bob", before=BOB_MAY),
    Case(
        "claim twice",
        [claim(), claim()],
        ["CLAIM_CLAIMABLE_BALANCE_SUCCESS", "CLAIM_CLAIMABLE_BALANCE_DOES_NOT_EXIST"],
        f"{CLAIM}:121",
        source="bob",
        before=BOB_MAY,
    ),
    Case(
        "take back what one has held",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CLAIM}:192",
        before=[Step("alice", [hold({"bob": ALWAYS, "alice": negated(within(90))}, UNIT, KALE)])],
        seconds=90,
    ),
    Case(
        "claim without a trustline",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_NO_TRUST"],
        f"{CLAIM}:166",
        source="carol",
        before=[Step("alice", [hold(["carol"], UNIT, KALE)])],
    ),
    Case(
        "claim with a trustline made on the way",
        [trust(KALE), claim()],
        ["CHANGE_TRUST_SUCCESS", "CLAIM_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CLAIM}:192",
        source="carol",
        before=[Step("alice", [hold(["carol"], UNIT, KALE)])],
    ),
    Case(
        "claim unauthorised",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_NOT_AUTHORIZED"],
        f"{CLAIM}:171",
        source="erin",
        before=STRICT_FOR_ERIN,
    ),
    Case(
        "claim onto a full line",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_LINE_FULL"],
        f"{CLAIM}:176",
        source="full",
        before=[Step("alice", [hold(["full"], 1, KALE)])],
    ),
    Case(
        "claim back as the issuer",
        [claim()],
        ["CLAIM_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CLAIM}:192",
        source="issuer",
        before=[Step("alice", [hold(["issuer"], UNIT, KALE)])],
    ),
    Case(
        "claw back what is not there",
        [claw_back_balance(b"nothing")],
        ["CLAWBACK_CLAIMABLE_BALANCE_DOES_NOT_EXIST"],
        f"{CLAW}:41",
    ),
    Case(
        "claw back XLM",
        [claw_back_balance()],
        ["CLAWBACK_CLAIMABLE_BALANCE_NOT_ISSUER"],
        f"{CLAW}:52",
        before=[Step("alice", [hold(["bob"], UNIT)])],
    ),
    Case(
        "claw back what others issue",
        [claw_back_balance()],
        ["CLAWBACK_CLAIMABLE_BALANCE_NOT_ISSUER"],
        f"{CLAW}:58",
        before=BOB_MAY,
    ),
    Case(
        "claw back KALE",
        [claw_back_balance()],
        ["CLAWBACK_CLAIMABLE_BALANCE_NOT_CLAWBACK_ENABLED"],
        f"{CLAW}:65",
        source="issuer",
        before=BOB_MAY,
    ),
    Case(
        "claw back where the issuer held it",
        [claw_back_balance()],
        ["CLAWBACK_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CLAW}:82",
        source="strict",
        before=STRICT_FOR_ERIN,
    ),
    Case(
        "claw back where a holder held it",
        [claw_back_balance()],
        ["CLAWBACK_CLAIMABLE_BALANCE_SUCCESS"],
        f"{CLAW}:82",
        source="strict",
        before=[Step("dave", [hold(["bob"], UNIT, STRICT)])],
    ),
    Case(
        "merge while sponsoring",
        [merge("bob")],
        ["ACCOUNT_MERGE_IS_SPONSOR"],
        "MergeOpFrame.cpp:240",
        source="carol",
        before=[Step("carol", [hold(["bob"], UNIT)])],
    ),
    Case(
        "merge once it is claimed",
        [claim(source="bob"), merge("bob")],
        ["CLAIM_CLAIMABLE_BALANCE_SUCCESS", "ACCOUNT_MERGE_SUCCESS"],
        "MergeOpFrame.cpp:272",
        source="carol",
        signers=("bob",),
        before=[Step("carol", [hold(["bob"], UNIT)])],
    ),
    Case(
        "the reserve is back once it is claimed",
        [claim(source="bob"), hold(["bob"], 100)],
        ["CLAIM_CLAIMABLE_BALANCE_SUCCESS", "CREATE_CLAIMABLE_BALANCE_SUCCESS"],
        "SponsorshipUtils.cpp:391",
        source="tight",
        signers=("bob",),
        before=[Step("tight", [hold(["bob"], 100)])],
    ),
]

DATA_ENTRIES = [
    Case("a data entry", [data(b"name")], ["MANAGE_DATA_SUCCESS"], f"{DATA}:100"),
    Case("an empty value", [data(b"name", b"")], ["MANAGE_DATA_SUCCESS"], f"{DATA}:100"),
    Case("a name of 64 bytes", [data(b"n" * 64, b"v" * 64)], ["MANAGE_DATA_SUCCESS"], f"{DATA}:100"),
    Case(
        "another value, and none",
        [data(b"name"), data(b"name", b"2"), data(b"name", None)],
        ["MANAGE_DATA_SUCCESS"] * 3,
        f"{DATA}:79",
    ),
    Case("remove what is not there", [data(b"name", None)], ["MANAGE_DATA_NAME_NOT_FOUND"], f"{DATA}:90"),
    Case("data without a reserve", [data(b"name")], ["MANAGE_DATA_LOW_RESERVE"], f"{DATA}:64", source="poor"),
    Case(
        "data on the last reserve, then another value",
        [data(b"name"), data(b"name", b"2"), data(b"more")],
        ["MANAGE_DATA_SUCCESS", "MANAGE_DATA_SUCCESS", "MANAGE_DATA_LOW_RESERVE"],
        f"{DATA}:64",
        source="tight",
    ),
    malformed("an empty name", data(b""), "MANAGE_DATA_INVALID_NAME", f"{DATA}:117"),
    malformed("a name with a line's end", data(b"a\nb"), "MANAGE_DATA_INVALID_NAME", f"{DATA}:117"),
    malformed("a name that is no ASCII", data(b"\xc3\xa4"), "MANAGE_DATA_INVALID_NAME", "util/types.cpp:106"),
    malformed("a name with a DEL", data(b"a\x7f"), "MANAGE_DATA_INVALID_NAME", "util/types.h:200"),
    Case(
        "merge with a data entry",
        [data(b"a"), merge("bob")],
        ["MANAGE_DATA_SUCCESS", "ACCOUNT_MERGE_HAS_SUB_ENTRIES"],
        "MergeOpFrame.cpp:222",
        source="carol",
    ),
    Case(
        "data of another, signed", [data(b"a", source="bob")], ["MANAGE_DATA_SUCCESS"], f"{DATA}:100", signers=("bob",)
    ),
]

PAYMENT = "PathPaymentOpFrameBase.cpp"
PAYMENTS = [
    Case("pay XLM", [pay("bob", UNIT)], ["PAYMENT_SUCCESS"], "PaymentOpFrame.cpp:131"),
    Case("pay KALE", [pay("bob", UNIT, KALE)], ["PAYMENT_SUCCESS"], "PaymentOpFrame.cpp:131"),
    Case("pay an M… address", [pay("bob#7", UNIT, KALE)], ["PAYMENT_SUCCESS"], "PaymentOpFrame.cpp:131"),
    Case("pay oneself more XLM than there is", [pay("alice", LIMIT)], ["PAYMENT_SUCCESS"], "PaymentOpFrame.cpp:62"),
    Case(
        "pay oneself more KALE than the line takes",
        [pay("alice", LIMIT, KALE)],
        ["PAYMENT_LINE_FULL"],
        f"{PAYMENT}:288",
    ),
    Case("pay oneself KALE", [pay("alice", UNIT, KALE)], ["PAYMENT_SUCCESS"], "PaymentOpFrame.cpp:131"),
    Case(
        "pay oneself without a line", [pay("carol", UNIT, KALE)], ["PAYMENT_NO_TRUST"], f"{PAYMENT}:276", source="carol"
    ),
    Case("pay nobody", [pay("nobody", UNIT)], ["PAYMENT_NO_DESTINATION"], "PathPaymentStrictReceiveOpFrame.cpp:68"),
    Case(
        "pay nobody KALE",
        [pay("nobody", UNIT, KALE)],
        ["PAYMENT_NO_DESTINATION"],
        "PathPaymentStrictReceiveOpFrame.cpp:68",
    ),
    Case(
        "pay without a line to who has none",
        [pay("carol", UNIT, KALE)],
        ["PAYMENT_NO_TRUST"],
        f"{PAYMENT}:276",
        source="carol",
    ),
    Case("pay to who has no line", [pay("carol", UNIT, KALE)], ["PAYMENT_NO_TRUST"], f"{PAYMENT}:276"),
    Case(
        "pay to an unauthorised line",
        [pay("erin", UNIT, STRICT)],
        ["PAYMENT_NOT_AUTHORIZED"],
        f"{PAYMENT}:282",
        source="dave",
    ),
    Case(
        "pay from an unauthorised line",
        [pay("dave", UNIT, STRICT)],
        ["PAYMENT_SRC_NOT_AUTHORIZED"],
        f"{PAYMENT}:225",
        source="erin",
    ),
    Case("pay from no line", [pay("bob", UNIT, KALE)], ["PAYMENT_SRC_NO_TRUST"], f"{PAYMENT}:219", source="carol"),
    Case("pay to a full line", [pay("full", 1, KALE)], ["PAYMENT_LINE_FULL"], f"{PAYMENT}:288"),
    Case("pay more KALE than there is", [pay("bob", 1_001 * UNIT, KALE)], ["PAYMENT_UNDERFUNDED"], f"{PAYMENT}:231"),
    Case("pay the reserve", [pay("bob", 1_000 * UNIT)], ["PAYMENT_UNDERFUNDED"], f"{PAYMENT}:197"),
    Case("pay more XLM than can be", [pay("friendbot", LIMIT)], ["PAYMENT_LINE_FULL"], f"{PAYMENT}:257"),
    Case("pay the issuer", [pay("issuer", UNIT, KALE)], ["PAYMENT_SUCCESS"], f"{PAYMENT}:164"),
    Case(
        "pay an issuer that has left",
        [pay("open", UNIT, OPEN)],
        ["PAYMENT_SUCCESS"],
        f"{PAYMENT}:164",
        source="frank",
        before=[Step("open", [merge("bob")])],
    ),
    Case(
        "pay the asset of an issuer that has left",
        [pay("alice", UNIT, OPEN)],
        ["PAYMENT_SUCCESS"],
        f"{PAYMENT}:83",
        source="frank",
        before=[Step("alice", [trust(OPEN)]), Step("open", [merge("bob")])],
    ),
    Case(
        "an issuer pays without end",
        [pay("alice", 10**17, KALE)],
        ["PAYMENT_SUCCESS"],
        "PaymentOpFrame.cpp:131",
        source="issuer",
    ),
    Case(
        "an issuer pays itself",
        [pay("issuer", UNIT, KALE)],
        ["PAYMENT_SUCCESS"],
        "PaymentOpFrame.cpp:131",
        source="issuer",
    ),
    Case(
        "what a payment brought can be paid on",
        [pay("carol", UNIT, source="alice"), pay("bob", UNIT, source="carol")],
        ["PAYMENT_SUCCESS"] * 2,
        "PaymentOpFrame.cpp:131",
        signers=("carol",),
    ),
    malformed("pay nothing", pay("bob", 0), "PAYMENT_MALFORMED", "PaymentOpFrame.cpp:143"),
    malformed("pay less than nothing", pay("bob", -1), "PAYMENT_MALFORMED", "PaymentOpFrame.cpp:143"),
    *(
        malformed(f"pay a code {name}", pay("bob", 1, code), "PAYMENT_MALFORMED", "PaymentOpFrame.cpp:148")
        for name, code in INVALID_ASSETS.items()
    ),
    Case("make an account", [create("new", UNIT)], ["CREATE_ACCOUNT_SUCCESS"], "CreateAccountOpFrame.cpp:133"),
    Case(
        "make one that is there",
        [create("bob", UNIT)],
        ["CREATE_ACCOUNT_ALREADY_EXIST"],
        "CreateAccountOpFrame.cpp:147",
    ),
    Case(
        "make one below the reserve",
        [create("new", UNIT - 1)],
        ["CREATE_ACCOUNT_LOW_RESERVE"],
        "CreateAccountOpFrame.cpp:104",
    ),
    Case("make one with nothing", [create("new", 0)], ["CREATE_ACCOUNT_LOW_RESERVE"], "CreateAccountOpFrame.cpp:178"),
    Case(
        "make one with too much",
        [create("new", 1_000 * UNIT)],
        ["CREATE_ACCOUNT_UNDERFUNDED"],
        "CreateAccountOpFrame.cpp:124",
    ),
    malformed(
        "make one with less than nothing", create("new", -1), "CREATE_ACCOUNT_MALFORMED", "CreateAccountOpFrame.cpp:182"
    ),
    malformed("make oneself", create("alice", UNIT), "CREATE_ACCOUNT_MALFORMED", "CreateAccountOpFrame.cpp:188"),
    Case("merge", [merge("bob")], ["ACCOUNT_MERGE_SUCCESS"], "MergeOpFrame.cpp:272", source="carol"),
    Case(
        "merge into an M… address", [merge("bob#9")], ["ACCOUNT_MERGE_SUCCESS"], "MergeOpFrame.cpp:272", source="carol"
    ),
    Case("merge into nobody", [merge("nobody")], ["ACCOUNT_MERGE_NO_ACCOUNT"], "MergeOpFrame.cpp:203", source="carol"),
    Case("merge with a trustline", [merge("bob")], ["ACCOUNT_MERGE_HAS_SUB_ENTRIES"], "MergeOpFrame.cpp:222"),
    Case(
        "merge what is immutable",
        [merge("bob")],
        ["ACCOUNT_MERGE_IMMUTABLE_SET"],
        "MergeOpFrame.cpp:211",
        source="fixed",
    ),
    Case(
        "merge with a signer",
        [merge("bob")],
        ["ACCOUNT_MERGE_SUCCESS"],
        "MergeOpFrame.cpp:246",
        source="carol",
        before=[Step("carol", [options(signer=(signer_key("cosigner"), 1))])],
    ),
    Case(
        "merge with a sequence number to come",
        [bump(1 << 40), merge("bob")],
        ["BUMP_SEQUENCE_SUCCESS", "ACCOUNT_MERGE_SEQNUM_TOO_FAR"],
        "MergeOpFrame.cpp:228",
        source="carol",
    ),
    Case(
        "act after a merge",
        [merge("bob"), pay("bob", 1)],
        ["ACCOUNT_MERGE_SUCCESS", "opNO_ACCOUNT"],
        "OperationFrame.cpp:327",
        source="carol",
    ),
    Case(
        "merge into one that is merged",
        [merge("alice", source="bob"), merge("bob")],
        ["ACCOUNT_MERGE_HAS_SUB_ENTRIES", "ACCOUNT_MERGE_SUCCESS"],
        "MergeOpFrame.cpp:222",
        source="carol",
        signers=("bob",),
    ),
    malformed("merge into oneself", merge("carol"), "ACCOUNT_MERGE_MALFORMED", "MergeOpFrame.cpp:283", source="carol"),
    malformed(
        "merge into oneself by an id",
        merge("carol#1"),
        "ACCOUNT_MERGE_MALFORMED",
        "MergeOpFrame.cpp:283",
        source="carol",
    ),
    Case("bump", [bump(1 << 50)], ["BUMP_SEQUENCE_SUCCESS"], "BumpSequenceOpFrame.cpp:67"),
    Case("bump back", [bump(0)], ["BUMP_SEQUENCE_SUCCESS"], "BumpSequenceOpFrame.cpp:67"),
    malformed("bump below 0", bump(-1), "BUMP_SEQUENCE_BAD_SEQ", "BumpSequenceOpFrame.cpp:77"),
]

CASES = [*CLAIMABLE_BALANCES, *DATA_ENTRIES, *PAYMENTS]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operation_ends_as_in_stellar_core(world: World, case: Case) -> None:
    assert SOURCE_LINE.fullmatch(case.at), "a case names its source"
    fork = world.fork()
    refused, result, _ = fork.run(case)
    assert names(result) == list(case.results)
    code = result.result.code.name
    assert (refused, code) == (case.refused, case.expected_code)
    fork.close()  # and ledgers go on


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
