"""Where rigs go, and how hard their shares are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.external_rigs import CROWDED, assign
from kalepool.policy.vardiff import FIRST_STEPS, MIN_DIFFICULTY, job_difficulty

ZEROS = st.dictionaries(st.integers(0, 30), st.integers(0, 8), min_size=1, max_size=12)
SPEEDS = st.dictionaries(st.integers(0, 60), st.floats(1e3, 1e10), max_size=40)


@given(ZEROS, SPEEDS, st.data())
def test_every_rig_is_at_a_farmer_with_the_fewest_zeros(zeros, speeds, data):
    present = data.draw(st.dictionaries(st.sampled_from(sorted(speeds) or [0]), st.integers(0, 35)))
    placed = assign(zeros, speeds, present)
    assert placed.keys() == speeds.keys()
    assert {zeros[farmer] for farmer in placed.values()} <= {min(zeros.values())}
    assert assign(zeros, speeds, placed) == placed, "who is well placed stays"


@given(st.integers(1, 12), st.lists(st.floats(1e6, 1e9), min_size=1, max_size=60))
def test_power_is_spread_evenly(farmers, speeds):
    placed = assign(dict.fromkeys(range(farmers), 0), dict(enumerate(speeds)), {})
    load = [sum(speed for rig, speed in enumerate(speeds) if placed[rig] == farmer) for farmer in range(farmers)]
    # the fullest got its last rig when it was the emptiest
    assert max(load) <= sum(speeds) / farmers + max(speeds) + 1e-6
    if len(speeds) >= farmers:
        assert min(load) > 0


def test_a_crowd_is_broken_up_but_a_small_change_moves_nobody():
    zeros = {"a": 0, "b": 0}
    together = dict.fromkeys(range(10), "a")
    placed = assign(zeros, dict.fromkeys(range(10), 1e3), together)
    assert sorted(placed.values()).count("a") in range(5, int(5 * CROWDED) + 1)
    uneven = {rig: "a" if rig < 6 else "b" for rig in range(10)}
    assert assign(zeros, dict.fromkeys(range(10), 1e3), uneven) == uneven


def test_the_first_in_turn_has_all_power_while_finds_are_rare():
    zeros, rigs = {"owed": 5, "not": 2, "past": 6}, dict.fromkeys(range(3), 1e6)
    placed = assign(zeros, rigs, {0: "not", 1: "owed", 2: "past"}, 5)
    assert set(placed.values()) == {"owed"}, "zeros up to the block's min_zeros are all the same"
    zeros["owed"] = 6
    assert set(assign(zeros, rigs, placed, 5).values()) == {"not"}


def test_all_are_raised_before_anybody_gets_a_zero_that_pays():
    zeros, rigs = {"owed": 5, "not": 2, "last": 0}, dict.fromkeys(range(3), 1e3)
    assert set(assign(zeros, rigs, {}, 5, least=5).values()) == {"not"}
    zeros["not"] = zeros["last"] = 5
    assert set(assign(zeros, rigs, {}, 5, least=5).values()) == {"owed"}


def test_no_farmer_no_place():
    assert assign({}, {1: 1e6}, {1: "gone"}) == {}
    assert assign({"a": 1}, {}, {}) == {}


@given(st.integers(MIN_DIFFICULTY, 2**60), st.integers(0, 16))
def test_difficulty_follows_the_pace_and_eases_for_a_farmer_without_zeros(pace, zeros):
    difficulty = job_difficulty(pace, zeros)
    assert MIN_DIFFICULTY <= difficulty <= pace
    assert difficulty >= pace // 16
    if 16 ** (zeros + 1) >= pace:
        assert difficulty == pace
    elif difficulty > max(MIN_DIFFICULTY, pace // 16):
        assert difficulty == 16 ** (zeros + 1), "what would help is brought, and no more"


@given(st.integers(MIN_DIFFICULTY, 2**60), st.integers(0, 16))
def test_a_rigs_first_share_is_easier(pace, zeros):
    first, later = job_difficulty(pace, zeros, first=True), job_difficulty(pace, zeros)
    assert MIN_DIFFICULTY <= first <= max(pace // FIRST_STEPS, MIN_DIFFICULTY)
    assert first <= later and first >= pace // 16


@given(st.integers(MIN_DIFFICULTY, 2**60), st.integers(0, 16))
def test_whole_zeros_are_the_nearest_power_of_16(pace, zeros):
    fine, whole = job_difficulty(pace, zeros), job_difficulty(pace, zeros, whole_zeros=True)
    assert whole.bit_count() == 1 and (whole.bit_length() - 1) % 4 == 0
    assert 1 / 4 <= whole / fine <= 4
