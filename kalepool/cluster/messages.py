"""What the coordinator and its workers tell each other.

A job goes out pickled: workers run what the coordinator gives them anyway. What comes back is JSON in plain bytes: the
coordinator runs nothing that a worker gives it. `claims.py` reads it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pickle
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import kernels
from kalepool.protocol.model import Block

MOST_FINDS = 5000
"""In a report; more wait for the next one."""

MOST_BYTES = 1_000_000
"""Of a message from a worker: a find takes a hundred."""

MOST_FAILURE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """What to search until told otherwise. A worker holds one job, not chunks, so it never waits for the next one.

    version: counts up with every change; a worker keeps the highest it has seen.
    index, block: the block to work in, with its bounds and entropy.
    farmers: what goes into the hash for each farmer (32 bytes), with the zeros the pool has for it already, in the
    order of their turns.
    report_zeros: finds of at least this many zeros are told at once, lesser ones with the next report.
    hashes_per_second: of all workers together.
    least_zeros: what all farmers are searched for before anybody gets a zero that pays.
    """

    version: int
    index: int
    block: Block
    farmers: tuple[tuple[bytes, int], ...]
    report_zeros: int
    hashes_per_second: float
    least_zeros: int = 0

    def pack(self) -> bytes:
        """The job as it travels: pickled once, however many workers it goes to."""
        return pickle.dumps(self)

    @staticmethod
    def unpack(packed: bytes) -> WorkerJob:
        return pickle.loads(packed)  # noqa: S301 (from our own coordinator, as everything Ray carries)


@dataclass(frozen=True, slots=True)
class Find:
    """A nonce with more zeros than its farmer had. A claim: the coordinator hashes it again."""

    farmer: bytes
    zeros: int
    nonce: int


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker did since its last report.

    index: the block of the finds. hashes: nonces tried, in blocks now past too. seconds: time since the last report.
    busy_seconds: thread-seconds spent searching; a worker that never waits has threads × seconds of them.
    working_seconds: the part of them in which it had a core, or a card: on a busy machine less.
    needs_serial: its nonce range is used up; it waits for a new searcher serial.
    """

    index: int
    finds: tuple[Find, ...]
    hashes: int
    seconds: float
    busy_seconds: float
    working_seconds: float
    needs_serial: bool

    def pack(self) -> bytes:
        """The report as it travels."""
        finds = [(find.farmer.hex(), find.zeros, str(find.nonce)) for find in self.finds]
        rest = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "finds"}
        return json.dumps({**rest, "finds": finds}).encode()


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker that is ready: who it is, and which code it runs."""

    code_version: str
    host: str
    pid: int
    backend: str
    threads: int

    def pack(self) -> bytes:
        """The hello as it travels."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """What a worker says in place of anything else once its code has failed."""

    failure: str

    @classmethod
    def of(cls, error: Exception) -> WorkerFailure:
        return cls(f"{type(error).__name__}: {error}"[:MOST_FAILURE_CHARACTERS])

    def pack(self) -> bytes:
        """The failure as it travels."""
        return json.dumps(asdict(self)).encode()


@functools.cache
def code_version() -> str:
    """The package's version and a digest of the sources that coordinator and workers must share.

    Two builds that would search or report differently differ here, also where nobody changed the version number.
    """
    package = Path(__file__).parent.parent
    ours = ("cluster/messages.py", "cluster/worker.py", "policy/ranges.py", "policy/search.py", "policy/turns.py")
    ours += ("protocol/model.py",)
    digest = hashlib.sha256()
    for path in [package / name for name in ours] + sorted(Path(kernels.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{metadata.version('kalepool')}+{digest.hexdigest()[:12]}"
