"""Options and trustlines end as stellar-core ends them; each case names the line of its source that decides."""

from __future__ import annotations

import pytest
from stellar_sdk import xdr

from tests.support.core_cases import (
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
    allow,
    asset,
    claw_back,
    data,
    hash_key,
    hold,
    keypair,
    merge,
    names,
    options,
    pay,
    payload_key,
    set_flags,
    signer_key,
    trust,
)

OPTIONS, TRUST = "SetOptionsOpFrame.cpp", "ChangeTrustOpFrame.cpp"
ALLOW, FLAGS, BASE, CLAW = (
    "AllowTrustOpFrame.cpp",
    "SetTrustLineFlagsOpFrame.cpp",
    "TrustFlagsOpFrameBase.cpp",
    "ClawbackOpFrame.cpp",
)
REQUIRED, REVOCABLE, IMMUTABLE, CLAWBACK = 1, 2, 4, 8


def malformed(name: str, operation: xdr.Operation, result: str, at: str, source: str = "alice") -> Case:
    return Case(f"malformed {name}", [operation], [result], at, source=source, refused=True)


def good(
    name: str, *operations: xdr.Operation, at: str, source: str = "alice", before: list[Step] | None = None
) -> Case:
    """Options that are accepted."""
    return Case(name, operations, ["SET_OPTIONS_SUCCESS"] * len(operations), at, source=source, before=before or [])


SIGNER = (signer_key("cosigner"), 1)
TWENTY = [Step("alice", [options(signer=(hash_key(bytes([n])), 1)) for n in range(20)])]
OPTIONS_CASES = [
    good("nothing at all", options(), at=f"{OPTIONS}:226"),
    good("inflation to another", options(inflation="bob"), at=f"{OPTIONS}:144"),
    good("inflation to oneself", options(inflation="alice"), at=f"{OPTIONS}:136"),
    Case("inflation to nobody", [options(inflation="nobody")], ["SET_OPTIONS_INVALID_INFLATION"], f"{OPTIONS}:140"),
    good("authorisation required", options(add=REQUIRED), at=f"{OPTIONS}:166"),
    good("revocable, with clawback", options(add=REVOCABLE | CLAWBACK), at=f"{OPTIONS}:172"),
    Case("clawback alone", [options(add=CLAWBACK)], ["SET_OPTIONS_AUTH_REVOCABLE_REQUIRED"], f"{OPTIONS}:175"),
    Case(
        "revocable taken from under clawback",
        [options(clear=REVOCABLE)],
        ["SET_OPTIONS_AUTH_REVOCABLE_REQUIRED"],
        f"{OPTIONS}:175",
        source="strict",
    ),
    good("both taken", options(clear=REVOCABLE | CLAWBACK), at=f"{OPTIONS}:155", source="strict"),
    good("clawback taken, revocable kept", options(clear=CLAWBACK), at=f"{OPTIONS}:155", source="strict"),
    Case(
        "a flag of what is immutable",
        [options(add=REQUIRED)],
        ["SET_OPTIONS_CANT_CHANGE"],
        f"{OPTIONS}:163",
        source="fixed",
    ),
    Case(
        "immutable no more", [options(clear=IMMUTABLE)], ["SET_OPTIONS_CANT_CHANGE"], f"{OPTIONS}:152", source="fixed"
    ),
    good("no flag of what is immutable", options(add=0, clear=0), at=f"{OPTIONS}:149", source="fixed"),
    good("a domain of what is immutable", options(domain=b"a.org"), at=f"{OPTIONS}:182", source="fixed"),
    malformed("an unknown flag", options(add=16), "SET_OPTIONS_UNKNOWN_FLAG", f"{OPTIONS}:239"),
    malformed("an unknown flag taken", options(clear=32), "SET_OPTIONS_UNKNOWN_FLAG", f"{OPTIONS}:239"),
    malformed("a flag given and taken", options(add=3, clear=2), "SET_OPTIONS_BAD_FLAGS", f"{OPTIONS}:247"),
    malformed("a master weight of 256", options(master=256), "SET_OPTIONS_THRESHOLD_OUT_OF_RANGE", f"{OPTIONS}:256"),
    malformed("a low threshold of 256", options(low=256), "SET_OPTIONS_THRESHOLD_OUT_OF_RANGE", f"{OPTIONS}:265"),
    malformed("a medium threshold of 256", options(medium=256), "SET_OPTIONS_THRESHOLD_OUT_OF_RANGE", f"{OPTIONS}:274"),
    malformed("a high threshold of 256", options(high=256), "SET_OPTIONS_THRESHOLD_OUT_OF_RANGE", f"{OPTIONS}:283"),
    malformed(
        "oneself as signer", options(signer=(signer_key("alice"), 1)), "SET_OPTIONS_BAD_SIGNER", f"{OPTIONS}:298"
    ),
    malformed(
        "a signer of weight 256", options(signer=(signer_key("bob"), 256)), "SET_OPTIONS_BAD_SIGNER", f"{OPTIONS}:304"
    ),
    malformed(
        "a signer of an empty payload",
        options(signer=(payload_key("bob", b""), 1)),
        "SET_OPTIONS_BAD_SIGNER",
        f"{OPTIONS}:313",
    ),
    malformed(
        "an empty payload removed",
        options(signer=(payload_key("bob", b""), 0)),
        "SET_OPTIONS_BAD_SIGNER",
        f"{OPTIONS}:313",
    ),
    good("a signer of a payload", options(signer=(payload_key("bob", b"x"), 1)), at=f"{OPTIONS}:70"),
    good("a signer of 255", options(signer=(signer_key("bob"), 255)), at=f"{OPTIONS}:226"),
    malformed(
        "a domain with a line's end", options(domain=b"a\n"), "SET_OPTIONS_INVALID_HOME_DOMAIN", f"{OPTIONS}:322"
    ),
    malformed(
        "a domain that is no ASCII", options(domain=b"\xc3\xbc.de"), "SET_OPTIONS_INVALID_HOME_DOMAIN", f"{OPTIONS}:322"
    ),
    malformed(
        "a domain that is no UTF-8", options(domain=b"\xff"), "SET_OPTIONS_INVALID_HOME_DOMAIN", f"{OPTIONS}:322"
    ),
    good("a domain of 32 bytes", options(domain=b"d" * 32), at=f"{OPTIONS}:182"),
    good("no domain again", options(domain=b"a.org"), options(domain=b""), at=f"{OPTIONS}:182"),
    good(
        "a signer, another weight, none",
        options(signer=SIGNER),
        options(signer=(SIGNER[0], 9)),
        options(signer=(SIGNER[0], 0)),
        at=f"{OPTIONS}:59",
    ),
    good("a signer removed that is not there", options(signer=(SIGNER[0], 0)), at=f"{OPTIONS}:118"),
    good("the twentieth signer's weight", options(signer=(hash_key(b"\0"), 5)), at=f"{OPTIONS}:59", before=TWENTY),
    Case("the 21st signer", [options(signer=SIGNER)], ["SET_OPTIONS_TOO_MANY_SIGNERS"], f"{OPTIONS}:66", before=TWENTY),
    Case(
        "a signer without a reserve",
        [options(signer=SIGNER)],
        ["SET_OPTIONS_LOW_RESERVE"],
        f"{OPTIONS}:88",
        source="poor",
    ),
    Case(
        "a signer on the last reserve",
        [options(signer=SIGNER), options(signer=(signer_key("bob"), 1))],
        ["SET_OPTIONS_SUCCESS", "SET_OPTIONS_LOW_RESERVE"],
        f"{OPTIONS}:88",
        source="tight",
    ),
    malformed(
        "the flags before the signer",
        options(add=64, signer=(signer_key("alice"), 1)),
        "SET_OPTIONS_UNKNOWN_FLAG",
        f"{OPTIONS}:239",
    ),
    malformed(
        "the signer before the domain",
        options(domain=b"\n", signer=(signer_key("alice"), 1)),
        "SET_OPTIONS_BAD_SIGNER",
        f"{OPTIONS}:298",
    ),
]

CHANGED, GONE = "CHANGE_TRUST_SUCCESS", Step("open", [merge("bob")])
TRUST_CASES = [
    Case("a new line", [trust(KALE)], [CHANGED], f"{TRUST}:306", source="carol"),
    Case("a code of 12", [trust(asset(b"ABCDEFGHIJKL", "issuer"))], [CHANGED], f"{TRUST}:306"),
    Case("a code of five", [trust(asset(b"ABCDE", "issuer"))], [CHANGED], "util/types.cpp:207"),
    Case("a code of one", [trust(asset(b"z", "issuer"))], [CHANGED], "util/types.cpp:179"),
    Case("the lowest limit", [trust(KALE, 1_000 * UNIT)], [CHANGED], f"{TRUST}:234"),
    Case("a limit below the balance", [trust(KALE, 1_000 * UNIT - 1)], ["CHANGE_TRUST_INVALID_LIMIT"], f"{TRUST}:195"),
    Case("a line closed with something on it", [trust(KALE, 0)], ["CHANGE_TRUST_INVALID_LIMIT"], f"{TRUST}:195"),
    Case(
        "a line closed that is not there",
        [trust(KALE, 0)],
        ["CHANGE_TRUST_INVALID_LIMIT"],
        f"{TRUST}:243",
        source="carol",
    ),
    Case("a line opened and closed", [trust(KALE), trust(KALE, 0)], [CHANGED] * 2, f"{TRUST}:220", source="carol"),
    Case("a line to nobody's asset", [trust(asset(b"X", "nobody"))], ["CHANGE_TRUST_NO_ISSUER"], f"{TRUST}:261"),
    Case(
        "a limit when the issuer has left",
        [trust(OPEN, 200 * UNIT)],
        ["CHANGE_TRUST_NO_ISSUER"],
        f"{TRUST}:231",
        source="frank",
        before=[GONE],
    ),
    Case(
        "a line closed when the issuer has left",
        [trust(OPEN, 0)],
        [CHANGED],
        f"{TRUST}:220",
        source="carol",
        before=[Step("carol", [trust(OPEN)]), GONE],
    ),
    Case("a line without a reserve", [trust(KALE)], ["CHANGE_TRUST_LOW_RESERVE"], f"{TRUST}:289", source="poor"),
    Case(
        "a line on the last reserve",
        [trust(KALE), trust(OPEN)],
        [CHANGED, "CHANGE_TRUST_LOW_RESERVE"],
        f"{TRUST}:289",
        source="tight",
    ),
    Case("a limit without a reserve", [trust(KALE), trust(KALE, 7)], [CHANGED] * 2, f"{TRUST}:234", source="tight"),
    malformed("a line to XLM", trust(XLM), "CHANGE_TRUST_MALFORMED", f"{TRUST}:330"),
    malformed("a line to oneself", trust(KALE), "CHANGE_TRUST_MALFORMED", f"{TRUST}:338", "issuer"),
    malformed("a limit below 0", trust(KALE, -1), "CHANGE_TRUST_MALFORMED", f"{TRUST}:317"),
    *(
        malformed(f"a line to a code {name}", trust(code), "CHANGE_TRUST_MALFORMED", f"{TRUST}:323")
        for name, code in INVALID_ASSETS.items()
    ),
    Case(
        "a line to what is authorised first",
        [trust(STRICT), pay("carol", 1, STRICT, source="strict")],
        [CHANGED, "PAYMENT_NOT_AUTHORIZED"],
        f"{TRUST}:264",
        source="carol",
        signers=("strict",),
    ),
    Case(
        "paid once authorised",
        [trust(STRICT, source="carol"), set_flags("carol", STRICT, add=1), pay("carol", 1, STRICT)],
        [CHANGED, "SET_TRUST_LINE_FLAGS_SUCCESS", "PAYMENT_SUCCESS"],
        f"{BASE}:139",
        source="strict",
        signers=("carol",),
    ),
    Case(
        "lines of before authorisation was required stay",
        [options(add=REQUIRED), pay("frank", 1, OPEN)],
        ["SET_OPTIONS_SUCCESS", "PAYMENT_SUCCESS"],
        f"{OPTIONS}:166",
        source="open",
    ),
    Case(
        "a line is a subentry",
        [trust(KALE), merge("bob")],
        [CHANGED, "ACCOUNT_MERGE_HAS_SUB_ENTRIES"],
        "MergeOpFrame.cpp:222",
        source="carol",
    ),
]

SET = "SET_TRUST_LINE_FLAGS_SUCCESS"
ISSUER_CASES = [
    Case("authorise", [set_flags("erin", STRICT, add=1)], [SET], f"{FLAGS}:53", source="strict"),
    Case("authorise again", [set_flags("dave", STRICT, add=1)], [SET], f"{FLAGS}:53", source="strict"),
    Case(
        "revoke",
        [set_flags("dave", STRICT, clear=1), pay("dave", 1, STRICT)],
        [SET, "PAYMENT_NOT_AUTHORIZED"],
        "PathPaymentOpFrameBase.cpp:282",
        source="strict",
    ),
    Case(
        "to maintain only",
        [set_flags("dave", STRICT, clear=1, add=2), pay("dave", 1, STRICT)],
        [SET, "PAYMENT_NOT_AUTHORIZED"],
        "PathPaymentOpFrameBase.cpp:282",
        source="strict",
    ),
    Case(
        "both at once",
        [set_flags("dave", STRICT, add=2)],
        ["SET_TRUST_LINE_FLAGS_INVALID_STATE"],
        f"{FLAGS}:85",
        source="strict",
    ),
    Case(
        "no clawback any more",
        [set_flags("dave", STRICT, clear=4), claw_back("dave", 1, STRICT)],
        [SET, "CLAWBACK_NOT_CLAWBACK_ENABLED"],
        f"{CLAW}:44",
        source="strict",
    ),
    Case(
        "flags of no line",
        [set_flags("alice", STRICT, add=1)],
        ["SET_TRUST_LINE_FLAGS_NO_TRUST_LINE"],
        f"{FLAGS}:41",
        source="strict",
    ),
    Case(
        "revoke without the right to",
        [set_flags("frank", OPEN, clear=1)],
        ["SET_TRUST_LINE_FLAGS_CANT_REVOKE"],
        f"{FLAGS}:207",
        source="open",
    ),
    Case(
        "downgrade without the right to",
        [set_flags("frank", OPEN, clear=1, add=2)],
        ["SET_TRUST_LINE_FLAGS_CANT_REVOKE"],
        f"{FLAGS}:207",
        source="open",
    ),
    Case(
        "no right to revoke comes before no line",
        [set_flags("alice", OPEN, clear=1)],
        ["SET_TRUST_LINE_FLAGS_CANT_REVOKE"],
        f"{BASE}:76",
        source="open",
    ),
    Case(
        "upgrade without the right to revoke",
        [set_flags("frank", OPEN, clear=2, add=1)],
        [SET],
        f"{FLAGS}:203",
        source="open",
    ),
    malformed("flags of XLM", set_flags("alice", XLM, add=1), "SET_TRUST_LINE_FLAGS_MALFORMED", f"{FLAGS}:106"),
    malformed(
        "flags of a code with a blank",
        set_flags("bob", asset(b"A B", "alice"), add=1),
        "SET_TRUST_LINE_FLAGS_MALFORMED",
        f"{FLAGS}:112",
    ),
    malformed(
        "flags of another's asset", set_flags("dave", STRICT, add=1), "SET_TRUST_LINE_FLAGS_MALFORMED", f"{FLAGS}:118"
    ),
    malformed(
        "flags of one's own",
        set_flags("strict", STRICT, add=1),
        "SET_TRUST_LINE_FLAGS_MALFORMED",
        f"{FLAGS}:124",
        "strict",
    ),
    malformed(
        "flags given and taken",
        set_flags("dave", STRICT, add=1, clear=1),
        "SET_TRUST_LINE_FLAGS_MALFORMED",
        f"{FLAGS}:130",
        "strict",
    ),
    malformed(
        "clawback given", set_flags("dave", STRICT, add=4), "SET_TRUST_LINE_FLAGS_MALFORMED", f"{FLAGS}:139", "strict"
    ),
    malformed(
        "both authorisations given",
        set_flags("dave", STRICT, add=3),
        "SET_TRUST_LINE_FLAGS_MALFORMED",
        f"{FLAGS}:139",
        "strict",
    ),
    malformed(
        "an unknown flag given",
        set_flags("dave", STRICT, add=8),
        "SET_TRUST_LINE_FLAGS_MALFORMED",
        f"{FLAGS}:139",
        "strict",
    ),
    malformed(
        "an unknown flag taken",
        set_flags("dave", STRICT, clear=8),
        "SET_TRUST_LINE_FLAGS_MALFORMED",
        f"{FLAGS}:146",
        "strict",
    ),
    Case("allow", [allow("erin", STRICT, 1)], ["ALLOW_TRUST_SUCCESS"], f"{ALLOW}:51", source="strict"),
    Case("allow to maintain", [allow("dave", STRICT, 2)], ["ALLOW_TRUST_SUCCESS"], f"{ALLOW}:51", source="strict"),
    Case("disallow", [allow("dave", STRICT, 0)], ["ALLOW_TRUST_SUCCESS"], f"{ALLOW}:51", source="strict"),
    Case(
        "disallow without the right to",
        [allow("frank", OPEN, 0)],
        ["ALLOW_TRUST_CANT_REVOKE"],
        f"{ALLOW}:127",
        source="open",
    ),
    Case(
        "only maintain without the right to",
        [allow("frank", OPEN, 2)],
        ["ALLOW_TRUST_CANT_REVOKE"],
        f"{ALLOW}:149",
        source="open",
    ),
    Case(
        "allow what needs no allowance",
        [allow("frank", OPEN, 1)],
        ["ALLOW_TRUST_SUCCESS"],
        f"{ALLOW}:116",
        source="open",
    ),
    Case(
        "allow where there is no line",
        [allow("alice", STRICT, 1)],
        ["ALLOW_TRUST_NO_TRUST_LINE"],
        f"{ALLOW}:39",
        source="strict",
    ),
    malformed("allow with both", allow("dave", STRICT, 3), "ALLOW_TRUST_MALFORMED", f"{ALLOW}:167", "strict"),
    malformed("allow with a clawback", allow("dave", STRICT, 4), "ALLOW_TRUST_MALFORMED", f"{ALLOW}:167", "strict"),
    malformed(
        "allow a code with a blank",
        allow("dave", asset(b"A B", "strict"), 1),
        "ALLOW_TRUST_MALFORMED",
        f"{ALLOW}:179",
        "strict",
    ),
    malformed("allow oneself", allow("strict", STRICT, 1), "ALLOW_TRUST_MALFORMED", f"{ALLOW}:186", "strict"),
    Case("claw back", [claw_back("dave", UNIT, STRICT)], ["CLAWBACK_SUCCESS"], f"{CLAW}:59", source="strict"),
    Case(
        "claw back all and no more",
        [claw_back("dave", 100 * UNIT, STRICT), claw_back("dave", 1, STRICT)],
        ["CLAWBACK_SUCCESS", "CLAWBACK_UNDERFUNDED"],
        f"{CLAW}:51",
        source="strict",
    ),
    Case(
        "claw back what is not authorised",
        [set_flags("dave", STRICT, clear=1), claw_back("dave", 1, STRICT)],
        [SET, "CLAWBACK_SUCCESS"],
        f"{CLAW}:49",
        source="strict",
    ),
    Case(
        "claw back from an M… address",
        [claw_back("dave#9", 1, STRICT)],
        ["CLAWBACK_SUCCESS"],
        f"{CLAW}:34",
        source="strict",
    ),
    Case(
        "claw back from no line", [claw_back("alice", 1, STRICT)], ["CLAWBACK_NO_TRUST"], f"{CLAW}:38", source="strict"
    ),
    Case(
        "claw back without the right to",
        [claw_back("frank", 1, OPEN)],
        ["CLAWBACK_NOT_CLAWBACK_ENABLED"],
        f"{CLAW}:44",
        source="open",
    ),
    malformed("claw back from oneself", claw_back("strict", 1, STRICT), "CLAWBACK_MALFORMED", f"{CLAW}:69", "strict"),
    malformed("claw back nothing", claw_back("dave", 0, STRICT), "CLAWBACK_MALFORMED", f"{CLAW}:75", "strict"),
    malformed("claw back XLM", claw_back("dave", 1, XLM), "CLAWBACK_MALFORMED", f"{CLAW}:81", "strict"),
    malformed(
        "claw back a code with a blank",
        claw_back("dave", 1, asset(b"A B", "strict")),
        "CLAWBACK_MALFORMED",
        f"{CLAW}:87",
        "strict",
    ),
    malformed("claw back another's asset", claw_back("dave", 1, STRICT), "CLAWBACK_MALFORMED", f"{CLAW}:93"),
]

CASES = [*OPTIONS_CASES, *TRUST_CASES, *ISSUER_CASES]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_account_is_set_as_in_stellar_core(world: World, case: Case) -> None:
    assert SOURCE_LINE.fullmatch(case.at)
    fork = world.fork()
    refused, result, _ = fork.run(case)
    assert names(result) == list(case.results)
    assert (refused, result.result.code.name) == (case.refused, case.expected_code)
    fork.close()


def test_the_thousandth_subentry_is_the_last(world: World) -> None:
    """SponsorshipUtils.cpp:485: an outer code, for entries of every kind."""
    fork = world.fork()
    fork.step(Step("friendbot", [pay("carol", 1_000 * UNIT)]))
    for start in range(0, 1_000, 100):
        fork.step(Step("carol", [data(b"%d" % n) for n in range(start, start + 100)]))
    more = [data(b"more"), trust(KALE), options(signer=SIGNER), data(b"1", b"another value")]
    _, result, _ = fork.run(Case("", more, [], "", source="carol"))
    assert names(result) == ["opTOO_MANY_SUBENTRIES"] * 3 + ["MANAGE_DATA_SUCCESS"]


def test_what_options_set_is_in_the_entry(world: World) -> None:
    fork = world.fork()
    fork.step(
        Step(
            "carol",
            [options(inflation="bob", add=3, domain=b"a.org", low=1, medium=2, high=3, master=9), hold(["bob"], 1)],
        )
    )
    key = xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(keypair("carol").xdr_account_id()))
    entry = fork.ledger.entries[key.to_xdr_bytes()]
    packed = entry.pack()
    parsed = xdr.LedgerEntry.from_xdr_bytes(packed)
    assert parsed.to_xdr_bytes() == packed
    account = parsed.data.account
    assert account is not None and account.inflation_dest is not None
    assert account.inflation_dest == keypair("bob").xdr_account_id()
    assert (account.flags.uint32, account.home_domain.string32, account.thresholds.thresholds) == (
        3,
        b"a.org",
        b"\x09\1\2\3",
    )
    assert account.ext.v1 is not None and account.ext.v1.ext.v2 is not None
    assert account.ext.v1.ext.v2.num_sponsoring.uint32 == 1


def test_limits_are_as_they_were_asked_for(world: World) -> None:
    fork = world.fork()
    fork.step(Step("carol", [trust(KALE, 7)]))
    line = fork.ledger.view.trustline(keypair("carol").raw_public_key(), KALE.to_xdr_bytes())
    assert line is not None and (line.limit, line.balance, line.flags) == (7, 0, 1)
    fork.step(Step("dave", [trust(STRICT, LIMIT)]))
    line = fork.ledger.view.trustline(keypair("dave").raw_public_key(), STRICT.to_xdr_bytes())
    assert line is not None and line.flags == 1 | 4
