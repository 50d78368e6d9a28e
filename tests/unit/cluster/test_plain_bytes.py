"""The place in Ray through which all answers come: where it is not as this code knows it, nobody connects."""

from __future__ import annotations

import pytest


def test_a_ray_without_the_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import ray_constants, worker

    from kalepool.cluster.plain_bytes import take_nothing_else
    from kalepool.errors import ConfigError

    for module, name, other in (
        (worker.Worker, "deserialize_objects", None),
        (worker.Worker, "deserialize_objects", lambda self, pickled: pickled),
        (ray_constants, "OBJECT_METADATA_TYPE_RAW", b"PLAIN"),
        (worker, "_import_from_string", None),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(worker.Worker, "deserialize_objects", lambda self, serialized_objects, object_refs: None)
            patch.setattr(module, name, other)
            with pytest.raises(ConfigError, match=r"would let a worker run code here"):
                take_nothing_else()


def test_what_is_not_plain_bytes_is_not_looked_into() -> None:
    """`data` has nothing that could be read: touching it would raise."""
    from kalepool.cluster.plain_bytes import NoAnswerError, NotPlainBytesError, _plain_values

    untouchable = object()
    cases = [
        (b"PYTHON", NotPlainBytesError, "unpickled"),
        (b"XLANG", NotPlainBytesError, "unpickled"),
        (b"ACTOR_HANDLE", NotPlainBytesError, "unpickled"),
        (b"RAWER", NotPlainBytesError, "unpickled"),
        (b"", NotPlainBytesError, "unpickled"),
        (None, NotPlainBytesError, "unpickled"),
        (b"3", NoAnswerError, "ACTOR_DIED: its process or its node died"),
        (b"3,more", NoAnswerError, "ACTOR_DIED"),
        (b"99999", NoAnswerError, "does not know"),
        (b"9" * 5000, NoAnswerError, "does not know"),
    ]
    from ray.core.generated.common_pb2 import ErrorType  # pyright: ignore[reportAttributeAccessIssue]

    died = str(ErrorType.Value("ACTOR_DIED")).encode()
    marks = [(died + mark[1:] if mark and mark.startswith(b"3") else mark) for mark, _, _ in cases]
    found = _plain_values(None, [(untouchable, mark, None) for mark in marks], [None] * len(marks))
    for value, (_, kind, said) in zip(found, cases, strict=True):
        assert type(value) is kind and said in str(value)
    assert _plain_values(None, [(None, b"RAW", None)], [None]) == [b""]
