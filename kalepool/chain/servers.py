"""Several RPC servers as one: whom to ask is decided by policy/rpc_servers.py, and done here."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from pydantic import BaseModel, Field
from stellar_sdk.client.response import Response
from stellar_sdk.soroban_rpc import GetNetworkResponse, SendTransactionResponse, SendTransactionStatus

from kalepool.chain import rpc as one_server
from kalepool.chain.rpc import MAX_RETRY_AFTER_SECONDS, RateLimitedError, Rpc, ServerTroubleError
from kalepool.errors import ChainError, ConfigError, RpcUnavailableError
from kalepool.policy.rpc_servers import (
    Bucket,
    Sending,
    ServerStanding,
    Trouble,
    after_answer,
    after_trouble,
    describe,
    order,
    takers,
    to_be_heard,
    what_counts,
)

PATIENCE_SECONDS = 2.0
"""How long a server is waited for where there is another one to ask."""

WATCHED = ("getHealth", "getLatestLedger")
"""After sends these come before other requests: everything waits for the next ledger."""

Params = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None
"""Of a request; or what makes them when it leaves."""

M = TypeVar("M", bound=BaseModel)

log = structlog.get_logger(__name__)


class HealthAnswer(BaseModel):
    """What getHealth says."""

    status: str
    latest_ledger: int = Field(alias="latestLedger", ge=1)
    latest_ledger_close_time: int | None = Field(alias="latestLedgerCloseTime", default=None)  # absent before RPC 25
    oldest_ledger: int = Field(alias="oldestLedger", ge=1)


class _LedgerHash(BaseModel):
    sequence: int
    hash: str


class _Ledgers(BaseModel):
    ledgers: list[_LedgerHash]


class Turns:
    """Requests to one server, as many as its bucket allows: the most urgent first, then the longest waiting."""

    def __init__(self, bucket: Bucket | None) -> None:
        self._bucket = bucket
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._giving: asyncio.Task[None] | None = None

    async def turn(self, method: str) -> None:
        """Wait until a request may leave."""
        if self._bucket is None:
            return
        rank = 0 if method == "sendTransaction" else 1 if method in WATCHED else 2
        mine = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (rank, next(self._numbers), mine))
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give(self._bucket))
        await mine

    async def _give(self, bucket: Bucket) -> None:
        while self._waiting:
            if self._waiting[0][2].done():  # who waited was cancelled
                heappop(self._waiting)
            elif wait := bucket.take(time.monotonic()):
                await asyncio.sleep(wait)
            else:
                heappop(self._waiting)[2].set_result(None)

    async def close(self) -> None:
        if self._giving is not None:
            self._giving.cancel()
            await asyncio.gather(self._giving, return_exceptions=True)


class RpcServers:
    """RPC servers of one network. `call` asks the first that is well, and each of the others where that has no usable
    answer; `read` does so again after a pause; `send` sends to all that answer.

    One that is behind another is not believed while there is one that is not. Of several, each has to show that it
    serves the same chain before it is asked: by passphrase, and by a ledger's hash.
    """

    def __init__(
        self,
        urls: Sequence[str],
        passphrase: str,
        *,
        timeout_seconds: float = 10.0,
        requests_per_second: float | None = None,
    ) -> None:
        self.names = names_of(urls)
        self._passphrase = passphrase
        self._servers = [
            Rpc(url, name, timeout_seconds=timeout_seconds) for url, name in zip(urls, self.names, strict=True)
        ]
        buckets = [Bucket(requests_per_second) if requests_per_second else None for _ in urls]
        self._turns = [Turns(bucket) for bucket in buckets]
        self.watch_seconds = buckets[0].watch_seconds if buckets[0] else 0.0
        """Between two looks for the next ledger, at least: other requests need room."""
        self._standings = [ServerStanding() for _ in urls]
        self._foreign: dict[int, str] = {}
        self._checked: set[int] = {0} if len(urls) == 1 else set()
        self._checking = asyncio.Lock()
        self._first_look = asyncio.Lock()
        self._background: dict[int, asyncio.Task[None]] = {}  # by the server that is asked how it is
        self._sending: set[asyncio.Task[Any]] = set()
        self.newest = 0
        """The newest ledger that any answer named: no server that is behind it is believed while another is not."""

    async def close(self) -> None:
        tasks = [*self._background.values(), *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(turns.close() for turns in self._turns), return_exceptions=True)
        for server in self._servers:
            await server.close()

    # What is told of them

    @property
    def place(self) -> str:
        """Who is asked now, for messages."""
        asked = order(self._standings, time.monotonic())
        return self.names[asked[0] if asked else 0]

    @property
    def are_several(self) -> bool:
        return len(self._servers) > 1

    @property
    def errors(self) -> Counter[str]:
        """Unusable answers so far, by method."""
        return sum((server.errors for server in self._servers), Counter[str]())

    def describe(self) -> str:
        """Which one is asked and why, in words; empty where there is only one."""
        return describe(self.names, self._standings, time.monotonic()) if self.are_several else ""

    def troubles(self) -> dict[str, tuple[Trouble, float]]:
        """Of several, those that are in trouble, by name: what it is, and for how many seconds."""
        now = time.monotonic()
        return {
            name: (standing.trouble, now - standing.since)
            for name, standing in zip(self.names, self._standings, strict=True)
            if standing.trouble is not None and self.are_several
        }

    async def require_one_network(self, *, wait_for_one: bool = True) -> None:
        """Raises ConfigError where one of several servers is not of this network's chain, and RpcUnavailableError where
        none answers, unless it is not to wait for one."""
        try:
            if self.are_several:
                await self._check_all()
        except ChainError:
            if wait_for_one:
                raise
        if self._foreign:
            raise ConfigError("; ".join(self._foreign.values()) + ": mend KALEPOOL_RPC_URL")

    # Asking

    async def call(self, method: str, answer: type[M], params: Params = None, *, told: set[int] | None = None) -> M:
        """Ask once, and each of the others where that gave no usable answer. Raises RpcUnavailableError, or ChainError
        where every server calls the request wrong.

        `told`: the servers that have given their word before; another is asked first, and who answered is added.
        """
        if self.are_several:
            await self._check_all()
        behind: dict[int, tuple[int, M]] = {}
        failed: ChainError | None = None
        places = order(self._standings, time.monotonic())
        if told:
            places.sort(key=lambda place: (place in told, self._standings[place].trouble is not None))
        places = [place for place in places if place in self._checked]
        for place in places:
            patience = None if place == places[-1] else PATIENCE_SECONDS
            try:
                found = await self._ask(place, method, answer, params, patience)
            except ChainError as error:
                failed = error if failed is None or isinstance(failed, RpcUnavailableError) else failed
                continue
            if self._standings[place].trouble is not Trouble.BEHIND:
                if told is not None:
                    told.add(place)
                return found
            behind[place] = self._standings[place].ledger, found
        if behind:
            place = max(behind, key=lambda each: behind[each][0])
            if told is not None:
                told.add(place)
            return behind[place][1]
        raise failed or RpcUnavailableError(f"{method}: none of the RPC servers is of this network: {self.describe()}")

    async def read(self, method: str, answer: type[M], params: Params = None, *, told: set[int] | None = None) -> M:
        """As `call`, up to four times: for requests that change nothing."""
        more: dict[str, Any] = {} if told is None else {"told": told}
        for pause in one_server.READ_PAUSES_SECONDS:
            try:
                return await self.call(method, answer, params, **more)
            except RateLimitedError as error:
                pause = max(pause, min(error.retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
                log.debug("rpc_rate_limited", method=method, pause_seconds=pause)
            except RpcUnavailableError as error:
                log.debug("rpc_read_again", method=method, reason=str(error))
            await asyncio.sleep(pause)
        return await self.call(method, answer, params, **more)

    def is_agreed(self, told: set[int]) -> bool:
        """Whether those that gave their word are two, or all that answer."""
        well = [place for place, standing in enumerate(self._standings) if standing.is_well and place in self._checked]
        return len(told) >= min(2, max(len(well), 1))

    async def get(self, url: str, params: dict[str, str]) -> Response:
        """A plain HTTP GET, for friendbot. Raises RpcUnavailableError without a connection."""
        return await self._servers[0].get(url, params)

    async def send(self, envelope_xdr: str) -> tuple[Sending, SendTransactionResponse | ChainError]:
        """Send a transaction once to all servers that answer: the answer that counts, as what_counts says. Never
        raises.

        As soon as one has taken it the others are not waited for.
        """
        if self.are_several:
            try:
                await self._check_all()
            except ChainError as error:
                return Sending.LATER, error
        places = [place for place in takers(self._standings, time.monotonic()) if place in self._checked]
        if not places:
            return Sending.LATER, RpcUnavailableError(f"none of the RPC servers can be sent to: {self.describe()}")
        patience = PATIENCE_SECONDS if len(places) > 1 else None
        open_tasks = {asyncio.create_task(self._send_to(place, envelope_xdr, patience)) for place in places}
        self._sending |= open_tasks
        for task in open_tasks:
            task.add_done_callback(self._sending.discard)
        came: list[tuple[Sending, SendTransactionResponse | ChainError]] = []
        while open_tasks:
            done, open_tasks = await asyncio.wait(open_tasks, return_when=asyncio.FIRST_COMPLETED)
            came += [task.result() for task in done]
            if any(sent is Sending.TAKEN for sent, _ in came):
                break
        return came[what_counts([(sent, _ledger_of(found)) for sent, found in came])]

    # How it is done

    async def _send_to(
        self, place: int, envelope_xdr: str, patience: float | None
    ) -> tuple[Sending, SendTransactionResponse | ChainError]:
        try:
            answer = await self._ask(
                place, "sendTransaction", SendTransactionResponse, {"transaction": envelope_xdr}, patience
            )
        except ServerTroubleError as error:
            return (Sending.LOST if error.has_left else Sending.LATER), error
        except ChainError as error:  # the server calls the request itself wrong
            return Sending.REFUSED, error
        match answer.status:
            case SendTransactionStatus.PENDING | SendTransactionStatus.DUPLICATE:
                return Sending.TAKEN, answer
            case SendTransactionStatus.TRY_AGAIN_LATER:
                return Sending.LATER, answer
            case SendTransactionStatus.ERROR:
                return Sending.REFUSED, answer

    async def _ask(self, place: int, method: str, answer: type[M], params: Params, patience: float | None = None) -> M:
        """Ask one server once, and remember how it was. Raises as Rpc.call."""
        await self._turns[place].turn(method)
        before = self._standings[place]
        given = params() if callable(params) else params
        try:
            found = await self._servers[place].call(method, answer, given, patience)
            if isinstance(found, HealthAnswer) and found.status != "healthy":
                said = f"{self.names[place]} calls itself {found.status[:50]!r}"
                raise ServerTroubleError(said, Trouble.FAILING)
        except ServerTroubleError as error:
            least = min(getattr(error, "retry_after_seconds", 0.0), MAX_RETRY_AFTER_SECONDS)
            self._stands(place, before, after_trouble(self._standings[place], error.trouble, time.monotonic(), least))
            raise
        ledger = _ledger_of(found)
        self._stands(place, before, after_answer(self._standings[place], ledger, self.newest, time.monotonic()))
        self.newest = max(self.newest, ledger) if self.are_several else self.newest
        return found

    def _stands(self, place: int, before: ServerStanding, now: ServerStanding) -> None:
        self._standings[place] = now
        if self.are_several and before.trouble != now.trouble:
            log.info("rpc_server", server=self.names[place], trouble=now.trouble and str(now.trouble), asked=self.place)

    def hear_others(self) -> None:
        """Ask every server that is not in use how it is: no ledger came when one should have."""
        for place in range(len(self._servers) if self.are_several else 0):
            if self._standings[place].is_well:
                self._hear(place)

    def _hear(self, place: int) -> None:
        task = self._background.get(place)
        if task is None or task.done():
            self._background[place] = asyncio.create_task(_quietly(self._look(place)))

    async def _look(self, place: int) -> None:
        if place not in self._checked:
            await self._check(place)
            return
        in_use = order(self._standings, time.monotonic())[0]
        if in_use != place:  # or it would be held against what was the newest ledger a while ago
            await self._ask(in_use, "getHealth", HealthAnswer, None, PATIENCE_SECONDS)
        await self._ask(place, "getHealth", HealthAnswer, None, PATIENCE_SECONDS)

    async def _check_all(self) -> None:
        """Before the first request of all, each server shows what it serves; later, those do that are to be heard."""
        async with self._first_look:
            if not self._checked:
                looks = [self._look(place) for place in range(len(self._servers)) if place not in self._foreign]
                for error in await asyncio.gather(*looks, return_exceptions=True):
                    if error is not None and not (self._checked and isinstance(error, ChainError)):
                        raise error
        now = time.monotonic()
        in_use = order(self._standings, now)[:1]
        for place in to_be_heard(self._standings, now):
            if place not in in_use or not self._standings[place].is_well:
                self._hear(place)

    async def _check(self, place: int) -> None:
        """Whether a server is of this network's chain: from then on it is asked."""
        found = await self._ask(place, "getNetwork", GetNetworkResponse, None, PATIENCE_SECONDS)
        if found.passphrase != self._passphrase:
            self._refuse(place, f"{self.names[place]} serves {found.passphrase!r}, not {self._passphrase!r}")
            return
        mine = await self._ask(place, "getHealth", HealthAnswer, None, PATIENCE_SECONDS)
        async with self._checking:
            for other in sorted(self._checked):
                try:
                    theirs = await self._ask(other, "getHealth", HealthAnswer, None, PATIENCE_SECONDS)
                    if not await self._compare(place, mine, other, theirs):
                        return
                    break
                except (ChainError, IndexError) as error:
                    servers = [self.names[place], self.names[other]]
                    log.info("rpc_servers_not_compared", servers=servers, reason=str(error))
            self._checked.add(place)

    async def _compare(self, place: int, mine: HealthAnswer, other: int, theirs: HealthAnswer) -> bool:
        """Whether a server may be asked: by the newest ledger that another has, too, whose hash stands for all before
        it. Where there is none, the one that is ahead may."""
        common = min(mine.latest_ledger, theirs.latest_ledger)
        if common < max(mine.oldest_ledger, theirs.oldest_ledger):
            late = other if mine.latest_ledger > theirs.latest_ledger else place
            self._checked.discard(late)
            self._standings[late] = after_trouble(self._standings[late], Trouble.BEHIND, time.monotonic())
            return late == other
        params = {"startLedger": common, "pagination": {"limit": 1}}
        one, two = [(await self._ask(each, "getLedgers", _Ledgers, params)).ledgers[0].hash for each in (place, other)]
        if one == two:
            return True
        names = f"{self.names[place]} and {self.names[other]}"
        self._refuse(place, f"{names} are of different chains: ledger {common} is {one[:8]}… and {two[:8]}…")
        return False

    def _refuse(self, place: int, why: str) -> None:
        self._foreign[place] = why
        self._standings[place] = after_trouble(self._standings[place], Trouble.FOREIGN, time.monotonic())
        log.error("rpc_server_refused", server=self.names[place], reason=why, then="mend KALEPOOL_RPC_URL")


async def _quietly(look: Coroutine[Any, Any, None]) -> None:
    """What a server answers is remembered; that it does not is no failure of anybody's."""
    try:
        await look
    except ChainError as error:
        log.debug("rpc_server_not_heard", reason=str(error))


def _ledger_of(found: object) -> int:
    return getattr(found, "latest_ledger", 0) or getattr(found, "sequence", 0) or 0


def names_of(urls: Sequence[str]) -> list[str]:
    """What to call servers in messages: by host alone, as a URL may hold a key; with the port or a number where that
    would name two."""
    hosts = [urlsplit(url).hostname or "?" for url in urls]
    named: list[str] = []
    for url, host in zip(urls, hosts, strict=True):
        name = host
        if hosts.count(host) > 1 and (port := urlsplit(url).port):
            name = f"{host}:{port}"
        alike = sum(each == name or each.startswith(f"{name} (") for each in named)
        named.append(f"{name} ({alike + 1})" if alike else name)
    return named
