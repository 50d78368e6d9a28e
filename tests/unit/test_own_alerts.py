"""Where farmers and miners may be told, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from kalepool.config import Settings
from kalepool.errors import InputError
from kalepool.services import outgoing, own_alerts
from kalepool.services.outgoing import Posted
from kalepool.services.own_alerts import MOST_LINES, checked, origins, together

ALLOWED = origins(Settings.load())
ANN = UUID(int=1)

GOOD = {
    "https://ntfy.sh/kale-9f3a": "https://ntfy.sh/kale-9f3a",
    "HTTPS://NTFY.SH/kale": "https://NTFY.SH/kale",
    "https://discord.com/api/webhooks/123/a-B_c": "https://discord.com/api/webhooks/123/a-B_c",
    "https://api.telegram.org/bot12:a-B_c/sendMessage?chat_id=-100&text=x": (
        "https://api.telegram.org/bot12:a-B_c/sendMessage?chat_id=-100"
    ),
}
BAD = [
    "",
    "ntfy.sh/kale",
    "http://ntfy.sh/kale",
    "https://ntfy.sh",
    "https://ntfy.sh/",
    "https://ntfy.sh/a/b",
    "https://ntfy.sh/../v1/account",
    "https://ntfy.sh/topic%0d%0aX: y",
    "https://ntfy.sh:8443/kale",
    "https://ntfy.sh@127.0.0.1/kale",
    "https://me:pw@ntfy.sh/kale",
    "https://ntfy.sh.evil.example/kale",
    "https://127.0.0.1/kale",
    "https://[::1]/kale",
    "https://169.254.169.254/latest",
    "https://localhost/kale",
    "file:///etc/passwd",
    "gopher://ntfy.sh/kale",
    "https://ntfy.sh\\@127.0.0.1/kale",
    "https://ntfy.sh/kále",
    "https://discord.com/api/users/@me",
    "https://discord.com/api/webhooks/123/abc/../../../x",
    "https://api.telegram.org/bot12:abc/getUpdates?chat_id=1",
    "https://api.telegram.org/bot12:abc/sendMessage",
    "https://api.telegram.org/bot12:abc/sendMessage?chat_id=1%0a2",
    "https://[/kale",
    "https://ntfy.sh/" + "x" * 500,
]


@pytest.mark.parametrize(("text", "url"), GOOD.items())
def test_an_address_of_the_known_servers_is_taken(text: str, url: str) -> None:
    assert checked(text, ALLOWED) == url


@pytest.mark.parametrize("text", BAD)
def test_the_pool_asks_nobody_else_whatever_is_typed_in(text: str) -> None:
    with pytest.raises(InputError) as refused:
        checked(text, ALLOWED)
    assert text.rstrip("/") in ["", *ALLOWED] or text not in str(refused.value), "it may be a secret"


def test_an_operator_says_where_or_nowhere() -> None:
    settings = Settings.load(own_alert_origins=" https://ntfy.example/ ,http://127.0.0.1:8080,")
    assert origins(settings) == ["https://ntfy.example", "http://127.0.0.1:8080"]
    assert checked("http://127.0.0.1:8080/kale", origins(settings))
    with pytest.raises(InputError):
        checked("https://ntfy.sh/kale", origins(settings))
    assert origins(Settings.load(own_alert_origins="")) == []


def test_words() -> None:
    lost = own_alerts.lost({"subject_id": ANN, "block_index": 7, "stake_stroops": 125_000_000})
    assert (lost.key, lost.message[:44]) == ("stake-lost/7", "Stake lost: 12.50 KALE in block 7. Your page")
    row = {"subject_id": ANN, "submission_id": 5, "asset": "KALE", "destination": "GABC", "transaction_hash": "ab"}
    paid = own_alerts.paid(row | {"action": "payment", "amount_stroops": 125_000_000})
    assert paid.message == "Paid: 12.5 KALE to GABC. Transaction ab."
    left = own_alerts.paid(row | {"action": "merge", "amount_stroops": None})
    assert left.message == "Paid: 0 KALE, and all the XLM that is left, to GABC. Transaction ab."
    rig = {"subject_id": ANN, "searcher": 3, "last_seen_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)}
    assert own_alerts.rig_gone(rig | {"name": "a\nb"}).message == "Rig gone: a�b, last seen 2026-01-02 03:04 UTC."
    assert "the one without a name" in own_alerts.rig_gone(rig | {"name": ""}).message
    assert "GABC lacks 1.5 XLM" in own_alerts.out_of_xlm(ANN, "GABC", 15_000_000, ANN).message
    assert together(["a", "b"], "testnet") == "kalepool, testnet\na\nb"
    assert together(["a"] * (MOST_LINES + 5), "testnet").endswith("\n… and 5 more: see your page.")


@pytest.mark.anyio
async def test_each_is_spoken_to_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    async def post(url: str, **content: object) -> Posted:
        sent.append((url, content))
        return Posted(is_taken=True)

    monkeypatch.setattr(outgoing, "post", post)
    for url in GOOD.values():
        await own_alerts.send(url, "@everyone <b>")
    (_, ntfy), _, (_, discord), (telegram_url, telegram) = sent
    assert ntfy == {"text": "@everyone <b>"}
    assert discord == {"json": {"content": "@everyone <b>", "allowed_mentions": {"parse": []}}}
    assert telegram_url == "https://api.telegram.org/bot12:a-B_c/sendMessage"
    assert telegram["json"]["chat_id"] == "-100" and "parse_mode" not in telegram["json"]
