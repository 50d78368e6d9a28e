"""The recorded truth, replayed through the devnet's host and contract."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kalepool.commands.devnet import app
from kalepool.devnet.recordings import replay_trace
from kalepool.errors import KalepoolError
from kalepool.protocol.replay import read_trace

RECORDED = Path(__file__).parents[2] / "conformance"
TRACES = sorted((RECORDED / "traces").glob("*.json.gz"))


@pytest.mark.no_cover  # watched line by line it takes three times as long, and the rules have these traces of their own
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_traces_agree(path: Path) -> None:
    assert replay_trace(path) == len(read_trace(path)["calls"])


def test_there_are_traces() -> None:
    assert len(TRACES) > 20


def _tampered(tmp_path: Path, *, final: bool) -> Path:
    trace = read_trace(TRACES[0])
    if final:
        trace["final"]["farm_block"]["staked_total"] = "1"
    else:
        harvest = next(call for call in trace["calls"] if call["method"] == "harvest" and "ok" in call["expect"])
        harvest["expect"]["ok"] = str(int(harvest["expect"]["ok"]) + 1)
    path = tmp_path / "tampered.json"
    path.write_text(json.dumps(trace))
    return path


def test_the_command_says_where_a_trace_differs(tmp_path: Path) -> None:
    runner = CliRunner()
    good = runner.invoke(app, ["replay", str(TRACES[0])])
    assert good.exit_code == 0 and "calls agree" in good.output
    for final, place in ((False, "expect.ok"), (True, "final state: farm_block.staked_total")):
        bad = runner.invoke(app, ["replay", str(_tampered(tmp_path, final=final)), str(TRACES[0])])
        assert isinstance(bad.exception, KalepoolError)
        assert place in str(bad.exception) and "agree" not in bad.output


def test_what_is_not_a_recording_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(gzip.compress(b'{"format": "kale-oracle-trace/1", "name": "x"}'))
    for argument in (str(RECORDED / "hash.json"), str(broken), str(tmp_path / "missing.json")):
        refused = CliRunner().invoke(app, ["replay", argument]).exception
        assert isinstance(refused, KalepoolError) and argument.rsplit("/", 1)[1] in str(refused)


def test_hashes_agree_by_the_readable_kernel(tmp_path: Path) -> None:
    vectors = json.loads((RECORDED / "hash.json").read_text())
    vectors["search"] = [vector for vector in vectors["search"] if vector["count"] <= 64]
    assert vectors["search"]
    small = tmp_path / "hash.json"
    small.write_text(json.dumps(vectors))
    good = CliRunner().invoke(app, ["replay", "--hash", str(small), "--backend", "python"])
    assert good.exit_code == 0, good.output
    vectors["search"][0]["best_nonce"] = str(int(vectors["search"][0]["best_nonce"]) + 1)
    small.write_text(json.dumps(vectors))
    bad = CliRunner().invoke(app, ["replay", "--hash", str(small), "--backend", "python"])
    assert isinstance(bad.exception, KalepoolError) and "search 0" in str(bad.exception)
    nobody = CliRunner().invoke(app, ["replay", "--hash", str(small), "--backend", "abacus"])
    assert isinstance(nobody.exception, KalepoolError) and "abacus" in str(nobody.exception)
