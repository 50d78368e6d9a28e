"""What operators are told: raised once, resolved once, nothing claimed that nobody can see; never the address."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.config import Settings, WebhookForm
from kalepool.errors import ConfigError
from kalepool.policy.endurance import Endurance
from kalepool.policy.rpc_servers import Trouble
from kalepool.services.alerts import (
    DOWN_SECONDS,
    LASTING,
    OF_CHAIN,
    SERVER_SECONDS,
    Amount,
    Changes,
    Condition,
    Missed,
    Notice,
    Observation,
    OpenAlert,
    Webhook,
    body,
    conditions,
    decide,
)
from kalepool.services.coordinators import LEADERLESS_SECONDS, SETTLED_SECONDS, TOLD_SECONDS, Coordinating
from kalepool.services.health import DiskRoom, Unsearched

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

EVERYTHING = Observation(
    chain_silent_seconds=DOWN_SECONDS,
    missed=Missed(41, 41, 12),
    lost_stakes=[Amount(40, 2, 125_000_000)],
    wrong_forecasts=[Amount(39, 1, 10_000_000, 10_000_001)],
    poor_farmers={"GABC": 5_000_000},
    pool_lacks_stroops=100_000_000,
    endurance=Endurance(10**7, 10**7),
    gone_machines=[("10.0.0.7", "cuda")],
    undecided=[(UUID(int=7), "payment", "ab" * 32)],
    to_check=2,
    unsearched=Unsearched(12, 250_000_000),
    disk=DiskRoom(123_456_789, 10**12, is_low=True),
)


def test_nobody_loses_nothing() -> None:
    (said,) = conditions(Observation(lost_stakes=[Amount(40, 2, 0)]))
    assert said.message == "Block 40: 2 farmers had nothing at stake and got no reward."


def test_one_of_several_servers_is_told_of_when_it_stays_in_trouble() -> None:
    troubles = {"a.example": (Trouble.SILENT, SERVER_SECONDS - 1), "b.example": (Trouble.FOREIGN, 0.0)}
    (foreign,) = conditions(Observation(servers=troubles, server_asked="c.example"))
    assert foreign.message == "The RPC server b.example serves another network; c.example is asked."
    silent, _ = conditions(Observation(servers=troubles | {"a.example": (Trouble.SILENT, SERVER_SECONDS)}))
    assert (silent.kind, silent.key) == ("rpc-server", "rpc-server:a.example")


observations = st.builds(
    Observation,
    chain_silent_seconds=st.sampled_from([0.0, 1.0, DOWN_SECONDS]),
    missed=st.none() | st.builds(Missed, st.integers(0, 3), st.integers(3, 5), st.integers(1, 3)),
    lost_stakes=st.lists(
        st.builds(Amount, st.integers(0, 3), st.integers(1, 3), st.integers(0, 10**9)),
        max_size=3,
        unique_by=lambda amount: amount.block_index,
    ),
    poor_farmers=st.dictionaries(st.sampled_from(["GA", "GB"]), st.integers(1, 10**8)),
    pool_lacks_stroops=st.integers(0, 10**8),
    gone_machines=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["cpu", "cuda"])), unique=True),
)


def test_blocks_missed_one_after_another_are_all_told_of() -> None:
    (said,) = conditions(Observation(missed=Missed(39, 41, 1)))
    assert said.message == "Blocks 39 to 41 are over and none of 1 farmer was planted in them."


def test_what_goes_on_is_said_in_new_words_when_it_is_over() -> None:
    (first,) = decide([], Observation(missed=Missed(39, 39, 1))).raised
    changes = decide([opened(first)], Observation(missed=Missed(39, 41, 1)))
    assert not changes.raised
    assert [other.message[:14] for other in changes.reworded] == ["Blocks 39 to 4"]


def test_a_miner_that_seems_to_hold_back_shares_is_told_of() -> None:
    (said,) = conditions(Observation(suspicions=[(UUID(int=9), "rig", "1 share of 20")]))
    assert said.key == f"withholding:{UUID(int=9)}"
    assert said.message == f"Miner {UUID(int=9)} (rig) seems to hold back shares: 1 share of 20."
    assert decide([opened(said)], Observation()).resolved == (said.key,)


def test_while_a_pool_starts_nobody_is_missed() -> None:
    seen = Observation(gone_machines=[("10.0.0.7", "cpu")], unsearched=Unsearched(2, 100), pool_lacks_stroops=1)
    raised = decide([], seen).raised
    assert {new.kind for new in raised} == {"worker-gone", "nobody-mining", "pool-out-of-xlm"}
    starting = dataclasses.replace(seen, starting=True)
    assert [new.kind for new in decide([], starting).raised] == ["pool-out-of-xlm"]
    assert decide([opened(new) for new in raised], starting) == Changes((), ()), "what was told before is not over"


LED = Coordinating(UUID(int=8), "home", 5, "b/2", AT, AT, "a/1", False, SETTLED_SECONDS + 1, 0.0, 1)


@pytest.mark.parametrize(
    ("wanted", "changed", "expected"),
    [
        (2, {}, {"coordinator-took-over": "Pooler home: the coordinator a/1 was silent, and b/2 has taken over."}),
        (1, {}, {}),  # it was started again: whoever starts it tells
        (2, {"taken_from": None}, {}),  # the other had ended
        (2, {"led_seconds": TOLD_SECONDS + 1}, {}),
        (2, {"taken_from": None, "standing_by": 0, "led_seconds": SETTLED_SECONDS - 1}, {}),
        (
            2,
            {"taken_from": None, "standing_by": 0},
            {
                "coordinator-missing": "Pooler home has 1 coordinator where 2 are wanted: nobody would take over from "
                "b/2."
            },
        ),
        (
            3,
            {"taken_from": None},
            {
                "coordinator-missing": "Pooler home has 2 coordinators where 3 are wanted: fewer would take over from "
                "b/2."
            },
        ),
        (
            1,
            {"leaderless_seconds": LEADERLESS_SECONDS + 1},
            {
                "nobody-leads": "Nobody coordinates pooler home: b/2 is silent, and no other has taken over. Start "
                "`kalepool coordinate`."
            },
        ),
        (2, {"leaderless_seconds": LEADERLESS_SECONDS + 1, "given_up": True}, {}),
        (2, {"leaderless_seconds": LEADERLESS_SECONDS - 1}, {}),
    ],
)
def test_who_coordinates_is_told_of(wanted: int, changed: dict[str, Any], expected: dict[str, str]) -> None:
    seen = Observation(coordinators=[dataclasses.replace(LED, **changed)], coordinators_wanted=wanted)
    assert {condition.kind: condition.message for condition in conditions(seen)} == expected


def opened(condition: Condition) -> OpenAlert:
    return OpenAlert(condition.key, condition.kind, condition.message)


def test_each_trouble_is_said_in_words() -> None:
    said = {condition.kind: condition.message for condition in conditions(EVERYTHING)}
    assert said == {
        "rpc-down": "The chain's RPC server does not answer.",
        "block-missed": "Block 41 is over and none of 12 farmers was planted in it.",
        "stake-lost": "Block 40: 2 farmers lost 12.50 KALE of stakes.",
        "forecast-off": "Block 39: 1 farmer received 1.0000000 KALE where 1.0000001 were forecast.",
        "farmer-out-of-xlm": "Farmer GABC lacks 0.50 XLM and is not planted for.",
        "pool-out-of-xlm": "The pool's account needs 10.00 XLM; GET /health says where to send it.",
        "xlm-runs-out": "The pool's XLM lasts for less than 3 hours: 1.00 XLM are left, and fees take 24.00 a day. "
        "GET /health names the pool's account.",
        "worker-gone": "No cuda worker on 10.0.0.7 any more.",
        "outcome-unknown": f"The RPC server has forgotten transaction {'ab' * 32} (payment). Look it up in an "
        f"explorer, then say with PUT /operator/submissions/{UUID(int=7)}/outcome if it was applied or failed, and in "
        "which ledger.",
        "compensation-to-check": "2 worked pails went with their blocks and may have been harvested by somebody else: "
        "see GET /operator/compensations?standing=to-check.",
        "disk-low": "Only 123 MB are free where the pool's data is: make room.",
        "nobody-mining": "Nobody is mining: neither a worker nor a miner searches for 12 farmers with 25.00 KALE of "
        "stakes.",
    }


def test_once_and_over() -> None:
    well = Observation()
    down = Observation(chain_silent_seconds=DOWN_SECONDS)
    (raised,) = decide([], down).raised
    assert raised.key == "rpc-down"
    known = [opened(raised)]
    assert decide(known, down) == decide([], well)  # nothing new
    assert decide(known, well).resolved == ("rpc-down",)
    hiccup = Observation(chain_silent_seconds=1.0)
    assert not decide([], hiccup).raised
    assert not decide(known, hiccup).resolved  # an answer is needed for that


def test_a_silent_chain_hides_what_hangs_on_it() -> None:
    known = [
        OpenAlert("farmer-out-of-xlm:GABC", "farmer-out-of-xlm", ""),
        OpenAlert("worker-gone:10.0.0.7:cpu", "worker-gone", ""),
    ]
    changes = decide(known, dataclasses.replace(EVERYTHING, poor_farmers={}))
    assert not OF_CHAIN & {new.kind for new in changes.raised}
    assert changes.resolved == ("worker-gone:10.0.0.7:cpu",)


@given(st.lists(observations, max_size=8))
def test_what_is_open_is_what_is_wrong(seen: list[Observation]) -> None:
    alerts: dict[str, OpenAlert] = {}
    lasting: set[str] = set()
    for observation in seen:
        changes = decide(list(alerts.values()), observation)
        for new in changes.raised:
            assert new.key not in alerts  # said once
            lasting |= {new.key} if new.kind in LASTING else set()
        for key in changes.resolved:
            assert alerts.pop(key).kind not in LASTING
        alerts |= {told.key: opened(told) for told in (*changes.raised, *changes.reworded)}
        assert decide(list(alerts.values()), observation) == decide([], Observation())  # looking again says nothing
        assert lasting <= alerts.keys()
        if not observation.chain_silent_seconds:
            assert {key: alert.message for key, alert in alerts.items() if key not in lasting} == {
                found.key: found.message for found in conditions(observation) if found.kind not in LASTING
            }


def notice(message: str = "It is down.", *, resolved: bool = False) -> Notice:
    return Notice("rpc-down", "rpc-down", message, resolved, AT)


def test_forms() -> None:
    assert body(notice(), WebhookForm.JSON, "mainnet") == {
        "kind": "rpc-down",
        "key": "rpc-down",
        "state": "raised",
        "message": "It is down.",
        "at": "2026-11-22T03:00:00+00:00",
        "network": "mainnet",
    }
    discord = body(notice("@everyone " + "x" * 3000, resolved=True), WebhookForm.DISCORD, "mainnet")
    assert discord["content"].startswith("✅ Resolved · mainnet · rpc-down\n@everyone")
    assert len(discord["content"]) == 2000
    assert discord["allowed_mentions"] == {"parse": []}
    telegram = body(notice(), WebhookForm.TELEGRAM, "testnet", chat_id="-100123")
    assert telegram["chat_id"] == "-100123"
    assert telegram["text"] == "🔴 Alert · testnet · rpc-down\nIt is down."


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("discord.com/api/webhooks/secret", "discord"),
        ("ftp://secret@host/", "json"),
        ("http://[secret/", "json"),
        ("https://api.telegram.org/botsecret/sendMessage", "telegram"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused_without_its_address(url: str, kind: str) -> None:
    settings = Settings.load(alert_webhook=url, alert_kind=kind, _env_file=None)
    with pytest.raises(ConfigError) as refused:
        Webhook(settings)
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(settings)
