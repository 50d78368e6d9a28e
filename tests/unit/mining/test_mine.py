"""The client's parts: jobs, nonces, engines, what it prints."""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.errors import ConfigError
from kalepool.mine.engines import CommandEngine, KernelEngine, choose_engines
from kalepool.mine.job import Nonces, PoolJob
from kalepool.networks import DEVNET
from kalepool.protocol.hashing import farmer_bytes
from kernels import KernelError, Template, keccak

FARMER = DEVNET.asset_issuer
JOB = PoolJob(
    job_id="job",
    template=Template(41, bytes(range(32)), farmer_bytes(FARMER)),
    farmer=FARMER,
    nonce_start=7 << 42,
    nonce_count=1 << 42,
    below=2**56,
    difficulty=256,
    ends=time.monotonic(),
)


def digest(nonce: int) -> bytes:
    return keccak.hash_nonce(41, nonce, JOB.template.entropy, JOB.template.farmer)


def stop() -> threading.Event:
    return threading.Event()


@given(st.integers(1, 2**64 - 1))
def test_zeros_are_the_fewest_that_are_enough(below: int):
    def largest(digits: int) -> int:
        """Of the hashes with so many zeros, seen through their first 8 bytes."""
        return 2 ** (64 - 4 * digits) - 1

    zeros = replace(JOB, below=below).zeros
    assert largest(zeros) < below
    assert zeros == 0 or largest(zeros - 1) >= below


@given(st.integers(1, 1000), st.lists(st.integers(1, 300), max_size=30))
def test_nonces_stay_in_the_range_and_none_comes_twice_in_a_round(count: int, takes: list[int]):
    job = replace(JOB, nonce_count=count)
    nonces, seen = Nonces(), []
    for each in takes:
        start, taken = nonces.take(job, each)
        assert 1 <= taken <= each
        seen += range(start, start + taken)
    assert all(job.nonce_start <= nonce < job.nonce_start + count for nonce in seen)
    assert len(set(seen[:count])) == len(seen[:count])


def test_what_an_engine_tried_past_its_piece_is_not_given_out_again():
    nonces = Nonces()
    start, _ = nonces.take(JOB, 10)
    nonces.skip(JOB, start + 1000)
    nonces.skip(JOB, start + 500)
    assert nonces.take(JOB, 10)[0] == start + 1000
    nonces.skip(JOB, JOB.nonce_start + JOB.nonce_count)
    assert nonces.take(JOB, 10)[0] == JOB.nonce_start


def test_a_kernel_engine_finds_what_counts_and_says_how_much_it_tried():
    engine = KernelEngine("python", 1)
    nonce, tried = engine.find(JOB, JOB.nonce_start, 4000, stop())
    assert nonce is not None and tried == nonce - JOB.nonce_start + 1
    assert digest(nonce)[0] == 0
    assert all(digest(before)[0] for before in range(JOB.nonce_start, nonce))
    stopped = stop()
    stopped.set()
    assert engine.find(JOB, JOB.nonce_start, 4000, stopped) == (None, 0)


def test_its_speed_is_measured():
    assert KernelEngine("python", 1).measure() > 100


SEARCH = """
import sys, json
from kernels import keccak
from kalepool.protocol.hashing import farmer_bytes
import base64
index, entropy, nonce, zeros, farmer, threads = sys.argv[1:7]
assert threads == "3"
nonce = int(nonce)
while True:
    digest = keccak.hash_nonce(int(index), nonce, base64.b64decode(entropy), farmer_bytes(farmer))
    if keccak.leading_zeros(digest) >= int(zeros):
        break
    nonce += 1
print("[CPU] Hash Rate: 2.61 MH/s")
print(json.dumps({"hash": digest.hex(), "nonce": nonce}, indent=2))
"""


def command(text: str) -> str:
    return shlex.join([sys.executable, "-c", text]) + " {index} {entropy_b64} {nonce} {zeros} {farmer} {threads}"


def test_another_program_is_driven_like_kale_miner():
    nonce, tried = CommandEngine(command(SEARCH), 3).find(JOB, JOB.nonce_start, 1, stop())
    assert nonce is not None and digest(nonce)[0] == 0
    assert tried == nonce - JOB.nonce_start + 1


EASY = SEARCH.replace("keccak.leading_zeros(digest) >= int(zeros)", "True")


def test_what_another_program_finds_is_held_against_the_jobs_target():
    """One with a target of its own, however easy, brings no share that does not count."""
    engine = CommandEngine(command(EASY), 3)
    nonce, tried = engine.find(replace(JOB, below=2**62), JOB.nonce_start, 1, stop())
    assert nonce is not None
    assert digest(nonce)[0] < 2**6
    assert all(digest(before)[0] >= 2**6 for before in range(JOB.nonce_start, nonce))
    assert tried == nonce - JOB.nonce_start + 1


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("nothing", "no {"),
        (json.dumps({"hash": "00" * 32, "nonce": JOB.nonce_start}), "but it is"),
        (json.dumps({"nonce": 1}), "left its range"),
        (json.dumps({"nonce": "x"}), "invalid literal"),
        (json.dumps({"nonce": None}), "printed"),
    ],
)
def test_what_another_program_prints_is_not_believed(printed: str, said: str):
    engine = CommandEngine("printf %s " + shlex.quote(printed), 1)
    with pytest.raises(KernelError, match=said):
        engine.find(JOB, JOB.nonce_start, 1, stop())


def test_another_program_ends_when_the_job_does():
    stopping = stop()
    threading.Timer(0.2, stopping.set).start()
    assert CommandEngine("sleep 60", 1).find(JOB, JOB.nonce_start, 1, stopping) == (None, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "needs a command"), ("./miner {entropy} {nonce}", r"there is no \{entropy\}")],
)
def test_a_wrong_command_is_refused_at_once(text: str, said: str):
    with pytest.raises(ConfigError, match=said):
        choose_engines(None, 1, text)


def test_a_program_that_is_not_there():
    with pytest.raises(ConfigError, match="cannot start"):
        CommandEngine("./no-such-miner", 1).find(JOB, JOB.nonce_start, 1, stop())
