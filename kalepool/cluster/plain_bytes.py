"""What Ray hands to this process: plain bytes, and nothing that is unpickled. Import it once Ray's environment is set.

Ray unpickles what a worker returns or raises, in the process that asked for it, before anybody can look at it: that
runs whatever code the worker put there. But bytes that a method returns travel as they are, marked RAW. So the one
function through which all of Ray's answers come is replaced: it passes on such bytes, and makes an exception of our own
of anything else, from the mark alone. Nor is a function called that the cluster names to whoever connects.
"""

from __future__ import annotations

import inspect
from typing import Any, NoReturn

import ray
from ray._private import ray_constants, worker
from ray.core.generated.common_pb2 import ErrorType  # pyright: ignore[reportAttributeAccessIssue]
from ray.exceptions import RayError

from kalepool.cluster.messages import MOST_BYTES
from kalepool.errors import ConfigError
from kalepool.units import plain

RAW = b"RAW"
PARAMETERS = ["self", "serialized_objects", "object_refs"]

MEANINGS = {
    "WORKER_DIED": "its process died",
    "ACTOR_DIED": "its process or its node died",
    "NODE_DIED": "its node died",
    "OUT_OF_MEMORY": "its node has no memory left",
    "ACTOR_UNAVAILABLE": "its node cannot be reached",
    "ACTOR_UNSCHEDULABLE_ERROR": "its node has no room for it",
    "RUNTIME_ENV_SETUP_FAILED": "its node cannot set up what it runs in",
    "WORKER_STARTUP_FAILED": "its process does not start",
    "TASK_EXECUTION_EXCEPTION": "its code failed",
}


class NoAnswerError(RayError):
    """Ray has no answer, but a reason."""


class NotPlainBytesError(RayError):
    """An answer that would have to be unpickled, or is too long. Nobody has looked into it."""


def take_nothing_else() -> None:
    """From now on this process takes plain bytes from Ray and nothing else. Raises ConfigError where this version of
    Ray does not have the place to see to that."""
    theirs = getattr(worker.Worker, "deserialize_objects", None)
    if theirs is _plain_values and getattr(worker, "_import_from_string", None) is _no_hook:
        return
    parameters = list(inspect.signature(theirs).parameters) if inspect.isfunction(theirs) else []
    has_hook = inspect.isfunction(getattr(worker, "_import_from_string", None))
    if parameters[:3] != PARAMETERS or ray_constants.OBJECT_METADATA_TYPE_RAW != RAW or not has_hook:
        raise ConfigError(_unknown_ray())
    worker._import_from_string = _no_hook  # pyright: ignore[reportPrivateImportUsage]
    worker.Worker.deserialize_objects = _plain_values  # pyright: ignore[reportAttributeAccessIssue]


async def prove(connected: Any) -> None:
    """Hand Ray an object and bytes, and get no more than the bytes back. Raises ConfigError where it is otherwise."""
    if await connected.put(RAW) != RAW:
        raise ConfigError(_unknown_ray())
    try:
        await connected.put({"pickled": True})
    except NotPlainBytesError:
        return
    raise ConfigError(_unknown_ray())


def _no_hook(name: str) -> NoReturn:
    """In place of what imports the tracing hook that a cluster has everybody call who connects."""
    raise RuntimeError(f"it has everybody call {plain(name)[:100]!r}: whoever set that is not to run code here")


def _unknown_ray() -> str:
    return (
        f"Ray {ray.__version__} hands over what workers say in a way that this kalepool does not know, and would let a "
        "worker run code here: install the version of requirements.lock"
    )


def _plain_values(_: object, serialized_objects: Any, object_refs: Any, *__: object, **___: object) -> list[object]:
    """In place of Worker.deserialize_objects: for each of the objects, as (data, metadata, …), its bytes or a RayError,
    which Ray raises where it is waited for."""
    return [_plain_value(found[0], found[1]) for found in serialized_objects]


def _plain_value(data: Any, metadata: bytes | None) -> bytes | RayError:
    mark = (metadata or b"").split(b",")[0]
    if mark == RAW:
        if data is None:
            return b""
        return data.to_pybytes() if data.size <= MOST_BYTES else NotPlainBytesError(f"{data.size} bytes in one answer")
    if not mark.isdigit():
        return NotPlainBytesError("an answer that would have to be unpickled")
    try:
        name = ErrorType.Name(int(mark))
    except ValueError:
        return NoAnswerError("Ray has no answer, for a reason that it does not know")
    return NoAnswerError(f"Ray says {name}" + (f": {MEANINGS[name]}" if name in MEANINGS else ""))
