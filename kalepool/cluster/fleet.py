"""The only file that talks to Ray: connects to a cluster or starts a local one, lists its places, starts workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import structlog

from kalepool.cluster.claims import read_hello, read_report
from kalepool.cluster.members import FalseReportError, FleetLostError, Handle, WorkerError
from kalepool.cluster.messages import MOST_FAILURE_CHARACTERS, Hello, WorkerFailure, WorkerReport
from kalepool.cluster.placement import WorkerPlace, places_on, resources_for
from kalepool.cluster.worker import WorkerActor, drop_secrets, require_backend
from kalepool.errors import ConfigError
from kalepool.units import plain

NAMESPACE = "kalepool"
OBJECT_STORE_BYTES = 80_000_000  # the least Ray takes: jobs and reports travel inside the calls
LOCAL_PREFIX = "kalepool-ray-"
MOST_FOLDER_BYTES = 11
"""Of the folder that holds a local Ray's: a socket's path has 107 bytes, of which `/kalepool-ray-1234567-abcdefgh`,
`/r/session_2026-01-01_00-00-00_000000_1234567` and `/sockets/plasma_store` take 96."""
CONNECT_SECONDS = 5.0
ORDERLY_SECONDS = 2.0  # for Ray to end by itself: it takes about one
END_SECONDS = 8.0  # once its raylet was killed

SYSTEM_CONFIG: dict[str, int] = json.loads(Path(__file__).with_name("ray.json").read_text())
"""Ray's own settings, of the whole cluster: what is in `ray.json` beside this file, which `ray start --head` takes too.

A killed node is noticed after about a second instead of ten; one that is only busy has four seconds to answer. What
Ray looks at several times a second for clusters with many short tasks, it looks at every second or two: every node's
cores are for hashing.
"""

MessageT = TypeVar("MessageT")

log = structlog.get_logger()


class StuckRayError(FleetLostError):
    """Ray neither ends nor lets this process go: only another process can use it again."""

    code: ClassVar[str] = "ray-stuck"


class RayFleet:
    """The nodes of the Ray cluster this process is connected to, through the node it runs on."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._own_node: str = ray.get_runtime_context().get_node_id()
        # A job gets through while a report is waited for. Ray keeps no record of every call: there is one a second.
        self._actor_class = ray.remote(concurrency_groups={"report": 1, "ctl": 1}, enable_task_events=False)(
            WorkerActor
        )

    async def places(self) -> list[WorkerPlace]:
        """One for the cores of each node that offers CPUs to Ray, one for each of its GPUs.

        Raises FleetLostError once the node this process is connected through is dead: Ray ends every worker that was
        started through it, starts no other, and does not bring it back.
        """
        try:
            nodes = await asyncio.to_thread(self._ray.nodes)
        except Exception as error:  # Ray raises whatever its client for the head raises
            raise WorkerError(f"the Ray head does not answer: {error}") from None
        if not any(node["Alive"] and node["NodeID"] == self._own_node for node in nodes):
            raise FleetLostError("Ray's daemon on this machine (raylet) has died or hung: Ray has to be started again")
        return places_on(nodes)

    def start(self, place: WorkerPlace, serial: int) -> Handle:
        """A worker on this very node. It dies with this process."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = self._actor_class.options(
            **resources_for(place),
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node_id, soft=False),
            max_restarts=0,
        ).remote(serial, place.threads, "cuda" if place.kind == "cuda" else None)
        actor.leave_when_forgotten.options(concurrency_group="ctl").remote()
        return RayHandle(self._ray, actor)


class RayHandle:
    """A worker that is a Ray actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor

    async def hello(self) -> Hello:
        return await _message(self._actor.hello.options(concurrency_group="ctl").remote(), read_hello)

    async def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> WorkerReport:
        call = self._actor.exchange.options(concurrency_group="report")
        return await _message(call.remote(packed, serial, wait_seconds), read_report)

    def assign(self, packed: bytes) -> None:
        self._actor.assign.options(concurrency_group="ctl").remote(packed)

    def kill(self) -> None:
        with contextlib.suppress(Exception):  # dead already, or Ray itself is gone: what is wanted anyway
            self._ray.kill(self._actor)


async def _message(reference: Awaitable[object], read: Callable[[bytes], MessageT | WorkerFailure]) -> MessageT:
    """What a worker answers, which is not believed yet. Raises WorkerError, FalseReportError."""
    from kalepool.cluster.plain_bytes import NoAnswerError, NotPlainBytesError

    try:
        answer = await reference
    except NotPlainBytesError as error:
        raise FalseReportError(f"the worker is not listened to: {error}") from None
    except NoAnswerError as error:
        raise WorkerError(str(error)) from None
    if type(answer) is not bytes:
        raise FalseReportError(f"the worker is not listened to: its answer is {type(answer).__name__}, not bytes")
    try:
        message = read(answer)
    except ValueError as error:
        raise FalseReportError(f"the worker is not listened to: {error}") from None
    if isinstance(message, WorkerFailure):
        raise WorkerError(plain(message.failure)[:MOST_FAILURE_CHARACTERS])
    return message


@contextlib.asynccontextmanager
async def connect(address: str | None, *, cpus: int, gpus: int) -> AsyncIterator[RayFleet]:
    """A fleet on the cluster at `address` ("auto", host:port), or on a Ray of our own on this machine (None).

    Our own asks for a token, sends no usage statistics, has no dashboard, gets no secret from our environment and ends
    with this process. A cluster's autoscaler is asked to have `cpus` and `gpus` in all, where it has one. When it is
    left, it can be entered again.
    From here on this process takes plain bytes from Ray and nothing else: see plain_bytes.py.
    Raises ConfigError when there is no such cluster, Ray does not start or take us, for whatever reason, or is of a
    version that cannot be held to that, and StuckRayError when it does not let us go.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a question asked while we leave Ray must not start another one
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address is None:
        require_backend()
        _remove_leftovers()
        # Ray opens the folder it is given, and all below it, to everybody, and writes through links found there:
        # it gets one inside a folder that nobody else can enter (mkdtemp's mode is 0700).
        folder = tempfile.mkdtemp(prefix=f"{LOCAL_PREFIX}{os.getpid()}-", dir=_folder_for_sockets())
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "10")  # what kill -9 of us leaves ends by then
        os.environ.setdefault("RAY_ROTATION_MAX_BYTES", "5000000")  # of each log; one more is kept
        os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
        os.environ.setdefault("RAY_worker_niceness", "0")  # a worker lowers its search threads, not its answers
        options: dict[str, Any] = {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(Path(folder) / "r"),
            "_node_ip_address": "127.0.0.1",
            "_system_config": dict(SYSTEM_CONFIG),  # Ray adds to it
        }
    else:
        folder, options = None, {"address": await _reachable(address)}

    import ray  # after its environment is set

    from kalepool.cluster.plain_bytes import prove, take_nothing_else

    take_nothing_else()

    def start() -> None:
        with _without_secrets():
            ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR, **options)
        if cpus or gpus:
            _ask_autoscaler(cpus, gpus)

    ended = threading.Event()
    try:
        try:
            await _in_daemon(start, ended)
        except Exception as error:  # Ray raises anything, from plain Exception to its own AuthenticationError
            raise ConfigError(_why_not(error, options["address"])) from None
        _restore_signals()
        await prove(ray)
        yield RayFleet(ray)
    finally:
        try:
            await _leave(ray)
        finally:
            ended.set()
            if folder:
                shutil.rmtree(folder, ignore_errors=True)


async def _leave(ray: Any) -> None:
    """End our own Ray, or disconnect from a cluster. Raises StuckRayError.

    ray.shutdown waits for its raylet without a limit, and one that hangs answers nobody: it is killed then.
    """
    from ray._private import worker

    node, ended = worker._global_node, threading.Event()
    leaving = asyncio.ensure_future(_in_daemon(ray.shutdown, ended))
    try:
        await asyncio.wait([leaving], timeout=ORDERLY_SECONDS)
        for started in node.all_processes.get("raylet", []) if node and not leaving.done() else []:  # ours alone
            started.process.kill()
        async with asyncio.timeout(END_SECONDS):
            await leaving
    except TimeoutError:
        raise StuckRayError(f"Ray does not let this process go within {END_SECONDS:.0f} s") from None
    except Exception as error:  # it was not up, or is gone: what is wanted anyway
        log.debug("ray_not_ended", reason=str(error))
    finally:
        leaving.cancel()
        ended.set()


def _why_not(error: BaseException, address: str) -> str:
    """What to tell whose Ray raised this when it was started or connected to."""
    import ray

    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if address == "local":
        return f"Ray does not start on this machine ({said}): `kalepool coordinate --no-ray` goes without"
    return (
        f"the Ray cluster at {address} does not take us ({said}): has it another token (RAY_AUTH_MODE and "
        "RAY_AUTH_TOKEN or ~/.ray/auth_token must be the same on all machines), or another version of Ray or Python "
        f"(here Ray {ray.__version__}, Python {platform.python_version()})?"
    )


async def _reachable(address: str) -> str:
    """`address` as host:port, once something listens there: Ray itself would try for a minute, then end the process."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        found = await asyncio.to_thread(canonicalize_bootstrap_address_or_die, address)
        host, _, port = found.rpartition(":")
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    except (OSError, ValueError) as error:  # ConnectionError and TimeoutError are OSErrors
        raise ConfigError(
            f"no Ray cluster at {address!r}: start its head with `ray start --head`, or leave the address out "
            f"for a local Ray ({error})"
        ) from None
    return found


async def _in_daemon(work: Callable[[], None], until: threading.Event) -> None:
    """Run `work` in a thread that then waits for `until`.

    Ray's processes are tied to the thread that started them, by PR_SET_PDEATHSIG: it has to stay. And it must not hold
    up the end of the process, as asyncio's own threads do.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error = None
        try:
            work()
        except SystemExit as failure:  # a future takes no such; Ray ends the process where it knows no better
            error = RuntimeError(f"it wanted to end the process: {failure}")
        except Exception as failure:
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)
        until.wait()

    threading.Thread(target=run, name="ray", daemon=True).start()
    await done


def _restore_signals() -> None:
    """Ray's native code puts handlers of its own over ours, which print a stack at SIGTERM: ours on top again."""
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)


def _ask_autoscaler(cpus: int, gpus: int) -> None:
    from ray.autoscaler.sdk import request_resources

    request_resources(num_cpus=cpus or None, bundles=[{"GPU": 1}] * gpus or None)


@contextlib.contextmanager
def _without_secrets() -> Iterator[None]:
    """Ray's processes inherit the environment they are started with: ours without keys and database."""
    taken = drop_secrets()
    try:
        yield
    finally:
        os.environ.update(taken)


def _folder_for_sockets() -> str:
    """The temporary folder (TMPDIR), or /tmp where its path is too long for Ray's sockets."""
    usual, short = tempfile.gettempdir(), "/tmp"  # noqa: S108  # the folder made in it is nobody else's
    return usual if len(os.fsencode(usual)) <= MOST_FOLDER_BYTES or not os.access(short, os.W_OK) else short


def _remove_leftovers() -> None:
    """Folders of local Rays whose coordinator was killed."""
    for folder in Path(_folder_for_sockets()).glob(f"{LOCAL_PREFIX}*"):
        pid = folder.name.removeprefix(LOCAL_PREFIX).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
