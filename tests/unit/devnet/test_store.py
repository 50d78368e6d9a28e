"""The chain on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from stellar_sdk import Asset, Claimant

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.ledger.store import FILE_NAME
from kalepool.devnet.node import Node
from kalepool.errors import ConfigError


def _state(node: Node) -> dict[bytes, tuple[bytes, int | None]]:
    def describe(entry: LedgerEntry) -> tuple[bytes, int | None]:
        return entry.pack(), entry.live_until

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


def test_data_entries_and_claimable_balances_outlast_a_restart(open_chain, tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    alice, bob = chain.fund("alice", "bob")
    held = lambda b: b.append_create_claimable_balance_op(chain.kale, "7", [Claimant(bob.public_key)])  # noqa: E731
    chain.must(chain.send(alice, held))
    chain.must(chain.send(alice, lambda b: b.append_manage_data_op("name", b"\0\xff")))
    chain.must(chain.send(alice, lambda b: b.append_set_options_op(inflation_dest=bob.public_key)))
    state = _state(chain.node)
    assert any(
        key[:4] == wire.LEDGER_KEY_CLAIMABLE_BALANCE and alice.raw_public_key() in data
        for key, (data, _) in state.items()
    )
    chain.node.close()
    assert _state(open_chain(tmp_path).node) == state


def test_a_chain_of_before_there_were_sponsors_goes_on(open_chain, tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    chain.fund("alice")
    state = _state(chain.node)
    chain.node.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as old:
        old.execute("ALTER TABLE entries DROP COLUMN sponsor")
    again = open_chain(tmp_path)
    assert _state(again.node) == state
    again.fund("bob")
