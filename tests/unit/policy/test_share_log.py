"""What anybody can check with share logs: every way in which one can be wrong is found."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import pytest
from stellar_sdk import Keypair

from kalepool.policy.credits import HOUSE
from kalepool.policy.share_log import (
    MOST_FAULTS,
    Closing,
    HarvestFee,
    LoggedShare,
    LogHead,
    LogRecord,
    check_closing,
    check_log,
    expected_credits,
    window_hash,
)
from kalepool.protocol.hashing import hash_work

ENTROPY = hashlib.sha256(b"a block").digest()
FARMER = Keypair.from_raw_ed25519_seed(ENTROPY).public_key
INDEX = 41


@cache
def shares() -> list[LoggedShare]:
    """Six of two miners, each of difficulty 4."""
    good = [n for n in range(60) if hash_work(INDEX, n, ENTROPY, FARMER)[0] < 64][:6]
    return [LoggedShare(f"m{n % 2}", FARMER, n, 4, hash_work(INDEX, n, ENTROPY, FARMER)) for n in good]


def log(*changed: LoggedShare | bytes, head: bytes | None = None) -> tuple[list[bytes], LogRecord]:
    """A log, and what a closing that agrees with it says."""
    lines = [head if head is not None else LogHead(INDEX, ENTROPY, 100).line()]
    lines += [each if isinstance(each, bytes) else each.line() for each in changed or shares()]
    return lines, LogRecord(INDEX, hashlib.sha256(b"".join(lines)).hexdigest(), len(lines) - 1)


def test_a_log_that_is_right() -> None:
    lines, record = log()
    found = check_log(lines, record, ENTROPY)
    assert found.told == []
    by_miner = {name: sum(4 for each in shares() if each.miner == name) for name in ("m0", "m1")}
    assert found.hashes == {HOUSE: 100} | by_miner and sum(found.shares.values()) == 6
    assert check_log(lines, record, None).told == [], "the chain has forgotten the block"


def one() -> LoggedShare:
    return shares()[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: replace(one(), nonce=one().nonce + 10**6), "has the hash"),
        (lambda: replace(one(), digest=bytes(32)), f"the log says {'00' * 32}"),
        (lambda: replace(one(), difficulty=2**40), "is not below the target"),
        (lambda: replace(one(), difficulty=1), "2 to 2^60"),
        (lambda: replace(one(), farmer="GABC"), "G… or C… address"),
        (lambda: shares()[1], "was there before"),
        (lambda: replace(one(), miner=HOUSE), "is no share"),
        (lambda: b"\n", "is no share"),
        (lambda: one().line()[:-1] + b" \n", "is no share"),
        (lambda: b"[" * 100_000, "is no share"),
        (lambda: one().line().replace(f'"{FARMER}"'.encode(), b"7"), "is no share"),
        (lambda: one().line().replace(f'"{one().nonce}"'.encode(), f'"{2**64}"'.encode()), "is no share"),
    ],
)
def test_a_share_that_does_not_count_is_found_where_the_pool_stands_by_its_log(wrong, said: str) -> None:
    lines, record = log(wrong(), *shares()[1:])
    found = check_log(lines, record, ENTROPY)
    assert len(found.told) == 1 and said in found.told[0], found.told
    assert sum(found.shares.values()) == 5, "what is wrong is not counted"


def test_a_log_that_is_not_the_one_of_the_closing_is_found() -> None:
    lines, record = log()
    missing = check_log(lines[:-1], record, ENTROPY).told
    assert ["has 5 shares" in missing[0], "SHA-256" in missing[1]] == [True, True]
    assert ["SHA-256" in line for line in check_log([*lines[:-2], lines[-1], lines[-2]], record, ENTROPY).told] == [
        True
    ]
    other = check_log(lines, record, hashlib.sha256(b"another").digest())
    assert "the chain has the entropy" in other.told[0] and "and 0" not in other.told[-1]
    assert "the log of block 42" in check_log(*log(head=LogHead(42, ENTROPY, 0).line()), ENTROPY).told[0]
    for head in (b"", b"[]\n", LogHead(INDEX, ENTROPY, -1).line(), json.dumps({"block_index": INDEX}).encode()):
        assert "no head" in check_log(*log(head=head), ENTROPY).told[0]
    assert "no head" in check_log([], LogRecord(INDEX, None, 0), None).told[0]


def test_of_many_faults_some_are_told() -> None:
    found = check_log(*log(*[b"x\n"] * 50), ENTROPY).told
    assert len(found) == MOST_FAULTS + 1 and found[-1] == "and 30 more like these"


RECORDS = [LogRecord(40, None, 3), LogRecord(41, "9f" * 32, 6)]
CLOSING = Closing(
    block_index=41,
    closed_at=datetime(2026, 1, 1, tzinfo=UTC),
    window_blocks=2,
    window_hash=window_hash(RECORDS),
    miner_fee_part=Decimal("0.5"),
    fees_stroops=101,
    shared_stroops=50,
    kept_stroops=101 - 34 - 8,
    credits={"a": 34, "b": 8},
    logs=RECORDS,
    harvests=[
        HarvestFee("G1", 1999, Decimal("0.05"), 99, "ab" * 32),
        HarvestFee("G2", 41, Decimal("0.05"), 2, None),
    ],
)
HASHES = {39: {"a": 10**6}, 40: {"a": 4}, 41: {"b": 1, HOUSE: 1}}


def test_a_closing_that_is_right() -> None:
    expected = expected_credits(CLOSING, HASHES)
    assert expected == {"a": 34, "b": 8, HOUSE: 8}, "of the window's blocks alone"
    assert list(check_closing(CLOSING, expected)) == []
    assert window_hash(RECORDS[::-1]) == CLOSING.window_hash
    nobody = replace(CLOSING, credits={}, kept_stroops=101)
    assert list(check_closing(nobody, expected_credits(nobody, {}))) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"credits": {"a": 34, "b": 7}}, "miner b earns 8 stroops, 7 were credited"),
        ({"credits": {"a": 34}}, "miner b earns 8 stroops, 0 were credited"),
        ({"credits": {"a": 34, "b": 8, "c": 1}}, "miner c earns 0 stroops, 1 were credited"),
        ({"kept_stroops": 58}, "the pool keeps 59 stroops, the closing says 58"),
        ({"window_hash": "00" * 32}, "window's hash"),
        ({"logs": RECORDS[1:]}, "window's hash"),
        ({"miner_fee_part": Decimal("0.4")}, "40 stroops are to be shared out"),
        ({"harvests": CLOSING.harvests[:1]}, "make 99 stroops of fees, the closing says 101"),
        (
            {"harvests": [replace(CLOSING.harvests[0], fee_rate=Decimal("0.06")), CLOSING.harvests[1]]},
            "the fee of G1 is 119 stroops, the closing says 99",
        ),
    ],
)
def test_a_closing_that_is_wrong_by_anything_is_found(changed: dict, said: str) -> None:
    wrong = replace(CLOSING, **changed)
    found = list(check_closing(wrong, expected_credits(CLOSING, HASHES)))
    assert len(found) == 1 and said in found[0], found


def test_a_solo_share_is_hashed_again_and_in_nobodys_part() -> None:
    first, *others = shares()
    mine = replace(first, solo=True)
    lines, record = log(mine, *others)
    assert lines[1] == first.line()[:-2] + b',"solo":true}\n', "other logs are the same bytes as ever"
    found = check_log(lines, record, ENTROPY)
    assert found.told == [] and found.solo == {(FARMER, first.nonce)}
    assert sum(found.hashes.values()) == 100 + 4 * 5 and sum(found.shares.values()) == 6
    for wrong in (b"false", b"1", b'"yes"'):
        line = mine.line().replace(b"true", wrong)
        assert "is no share" in check_log(*log(line, *others), ENTROPY).told[0]


SOLO = replace(
    CLOSING,
    fees_stroops=99 + 7,
    shared_stroops=49,
    kept_stroops=106 - 33 - 8,
    credits={"a": 33, "b": 8},
    harvests=[CLOSING.harvests[0], HarvestFee("G2", 700, Decimal("0.01"), 7, None, solo=True, nonce=5)],
    solo_fee=Decimal("0.01"),
)
"""Of the second farmer's work, which a rig of its own has found, the pool keeps the service fee."""


@pytest.mark.parametrize(
    ("changed", "solo", "said"),
    [
        ({}, [("G2", 5)], []),
        ({}, [], ["the work of G2 was SOLO by the closing, and is no SOLO share's"]),
        ({}, [("G1", 5), ("G2", 6)], ["is no SOLO share's"]),
        ({"solo_fee": Decimal("0.005")}, [("G2", 5)], ["0.01 is taken of G2's SOLO work, more than 0.005"]),
        ({"shared_stroops": 53}, [("G2", 5)], ["49 stroops are to be shared out, the closing says 53"]),
    ],
)
def test_a_closing_with_a_solo_work(changed: dict, solo: list[tuple[str, int]], said: list[str]) -> None:
    closing = replace(SOLO, **changed)
    expected = expected_credits(SOLO, HASHES)
    found = list(check_closing(closing, expected, solo))
    assert [text in line for text, line in zip(said, found, strict=True)] == [True] * len(said), found


def test_a_solo_work_of_which_the_full_fee_was_taken_is_found() -> None:
    taken = replace(CLOSING.harvests[0], nonce=5)
    closing = replace(CLOSING, harvests=[taken, CLOSING.harvests[1]])
    [said] = check_closing(closing, expected_credits(closing, HASHES), [("G1", 5)])
    assert "the work of G1 was not SOLO by the closing, and is a SOLO share's" in said
    assert taken.work == ("G1", 5) and CLOSING.harvests[0].work == ("G1", -1)
