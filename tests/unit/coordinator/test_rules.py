"""What an operator may set of the schedule."""

from __future__ import annotations

import pytest

from kalepool.config import Settings
from kalepool.coordinator.process import rules_of
from kalepool.errors import ConfigError
from kalepool.policy.schedule import ScheduleSettings


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "")


def test_unless_they_are_set_the_schedule_has_the_default_settings() -> None:
    assert rules_of(Settings.load()) == ScheduleSettings(landing_probability=0.999, insurance=True, works_per_ledger=20)


def test_an_operator_sets_when_works_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_LANDING_PROBABILITY", "0.99")
    monkeypatch.setenv("KALEPOOL_INSURANCE", "false")
    monkeypatch.setenv("KALEPOOL_CHANNEL_ACCOUNTS", "40")
    rules = rules_of(Settings.load())
    assert rules == ScheduleSettings(landing_probability=0.99, insurance=False, works_per_ledger=40)
    monkeypatch.setenv("KALEPOOL_LANDING_PROBABILITY", "1")
    with pytest.raises(ConfigError, match="KALEPOOL_LANDING_PROBABILITY"):
        Settings.load()
