"""The chain on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from stellar_sdk import Asset

from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.node import Node
from kalepool.errors import ConfigError


def _state(node: Node) -> dict[bytes, tuple[bytes, int, int | None]]:
    def describe(entry: LedgerEntry) -> tuple[bytes, int, int | None]:
        return entry.pack_data(), entry.modified, entry.live_until

    return {key: describe(entry) for key, entry in node.ledger.entries.items()}


def test_a_restart_goes_on_where_it_stopped(open_chain, tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    alice, bob = chain.fund("alice", "bob")
    planted = chain.must(chain.apply(chain.plant(alice, 77)))
    chain.must(
        chain.send(
            bob,
            lambda b: (
                b.append_payment_op(alice.public_key, chain.kale, "1000")
                .append_change_trust_op(chain.kale, "0")
                .append_account_merge_op(alice.public_key)
            ),
        )
    )
    header, state, farm = chain.node.ledger.header, _state(chain.node), chain.farm
    chain.node.close()

    again = open_chain(tmp_path)
    assert again.node.ledger.header == header
    assert _state(again.node) == state
    assert again.farm == farm
    assert again.pail(alice, farm.index).stake == 77
    row = again.node.store.transaction(planted.hash)
    assert row is not None and row.record.meta == planted.meta and row.record.diagnostics == planted.diagnostics
    again.close(60)
    again.must(again.apply(again.plant(alice)))
    assert again.farm.index == farm.index + 1
    assert again.node.ledger.header.sequence == header.sequence + 2


def test_a_ledger_that_cannot_be_kept_was_not_closed(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    (alice,) = chain.fund("alice", kale=None)
    envelope = chain.build(alice, lambda b: b.append_payment_op(chain.issuer.public_key, Asset.native(), "1"))
    envelope.sign(alice)
    chain.submit(envelope)
    before, state = chain.node.ledger.header, _state(chain.node)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(chain.node.store, "_forget", fail)
        with pytest.raises(OSError, match="disk full"):
            chain.close()
    assert chain.node.ledger.header == before
    assert _state(chain.node) == state
    assert chain.node.store.range[1].sequence == before.sequence
    assert [record.hash for record in chain.close().transactions] == [envelope.hash()]


def test_history_is_kept_for_a_while(open_chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kalepool.devnet.ledger.store.RETENTION_LEDGERS", 5)
    chain = open_chain()
    chain.fund("alice")
    for _ in range(6):
        chain.close()
    oldest, latest = chain.node.store.range
    assert latest.sequence - oldest.sequence == 5
    assert chain.node.store.transactions(oldest.sequence - 1) == []
    assert list(chain.node.store.events((0, 0), latest.sequence + 1, None)) == []


def test_data_has_one_user_and_one_network(open_chain, tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    with pytest.raises(ConfigError, match="another devnet"):
        open_chain(tmp_path)
    chain.node.store._db.execute("UPDATE meta SET value = 'Other Network' WHERE name = 'passphrase'")
    chain.node.close()
    with pytest.raises(ConfigError, match="Other Network"):
        open_chain(tmp_path)
