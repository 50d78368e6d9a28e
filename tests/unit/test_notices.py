"""Notices say what they were made of, and whatever else somebody sends is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kalepool.database import migrations, queries
from kalepool.notices import (
    AnyNotice,
    BlockNotice,
    Channel,
    FarmerNotice,
    KeyNotice,
    MalformedNoticeError,
    ShareNotice,
    SiblingNotice,
    hear,
)
from kalepool.protocol.model import U32_MAX

KINDS: list[type[AnyNotice]] = [BlockNotice, FarmerNotice, ShareNotice, KeyNotice, SiblingNotice]

INDEXES = st.integers(0, U32_MAX)
SHARES = st.builds(
    ShareNotice, INDEXES, st.uuids(), st.uuids(), st.integers(0, 2**64 - 1), st.integers(0, 64), st.integers(0, 2**62)
)
NEWS = st.builds(SiblingNotice, st.uuids().map(lambda each: each.hex), st.text(min_size=1, max_size=40))
NOTICES = st.one_of(
    st.builds(BlockNotice, INDEXES), st.builds(FarmerNotice, st.uuids()), SHARES, st.builds(KeyNotice, st.uuids()), NEWS
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("block_index", "pooler_id", "farmer_id", "nonce", "zeros", "searcher")
ALMOST = st.builds(
    lambda share, changes: json.dumps(json.loads(share.to_text()) | changes),
    SHARES,
    st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=3),
)
TEXTS = st.text() | JSON.map(json.dumps) | ALMOST | st.sampled_from(["[" * 8000, "1" * 8000, "null", "٣", "-1", "1_0"])


class Sent:
    """A database in which somebody sent these texts and no more."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    async def listen(self, channel: str) -> AsyncIterator[str]:
        assert channel in list(Channel)
        for text in self.texts:
            yield text


async def heard(kind: type[AnyNotice], *texts: str) -> list[AnyNotice | None]:
    return [notice async for notice in hear(Sent(*texts), kind)]  # pyright: ignore[reportArgumentType]


@given(NOTICES)
def test_a_notice_reads_as_it_was_written(notice: AnyNotice) -> None:
    text = notice.to_text()
    assert 0 < len(text.encode()) < 8000
    assert type(notice).from_text(text) == notice


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_any_text_is_a_notice_or_malformed(kind: type[AnyNotice], text: str) -> None:
    try:
        notice = kind.from_text(text)
    except MalformedNoticeError:
        return
    assert kind.from_text(notice.to_text()) == notice


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_malformed_is_said_and_dropped(kind: type[AnyNotice]) -> None:
    good = {
        BlockNotice: BlockNotice(7),
        FarmerNotice: FarmerNotice(UUID(int=1)),
        ShareNotice: ShareNotice(7, UUID(int=1), UUID(int=2), 3, 4, 5),
        KeyNotice: KeyNotice(UUID(int=1)),
        SiblingNotice: SiblingNotice("0" * 32, "{}"),
    }[kind]
    with capture_logs() as logs:
        assert await heard(kind, "", "{not JSON" + "!" * 300, good.to_text(), "") == [None, good, None]
    [entry] = logs
    assert entry["event"] == "notice_malformed" and entry["log_level"] == "warning"
    assert entry["channel"] == kind.CHANNEL.value
    assert entry["text"] == ("{not JSON" + "!" * 300)[:200]


def test_each_channel_has_one_kind() -> None:
    assert sorted(kind.CHANNEL for kind in KINDS) == sorted(Channel)


def test_sql_tells_on_no_other_channel() -> None:
    source = "\n".join([*migrations().values(), *(query.decode() for query in queries().values())])
    told = set(re.findall(r"pg_notify\('(\w+)'", source))
    assert told and told <= set(Channel)
    assert len(re.findall(r"pg_notify\('\w+'", source)) == len(re.findall("pg_notify", source))
