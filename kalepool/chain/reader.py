"""Reading the chain. Everything here may be asked again; nothing changes anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

import structlog
from pydantic import BaseModel, Field
from stellar_sdk import Asset
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.soroban_rpc import (
    FeeDistribution,
    GetFeeStatsResponse,
    GetLedgerEntriesResponse,
    GetNetworkResponse,
)

from kalepool.chain import entries
from kalepool.chain.destinations import MEMO_REQUIRED, Destination
from kalepool.chain.gathering import GatheredReads, Keys
from kalepool.chain.records import (
    Account,
    Farm,
    FeeBids,
    Fees,
    HeldAndPlanted,
    Ledger,
    Limits,
    Payee,
    Receiver,
    RpcHealth,
)
from kalepool.chain.rpc import MAX_RETRY_AFTER_SECONDS, RateLimitedError
from kalepool.chain.servers import HealthAnswer, Params, RpcServers
from kalepool.config import Settings
from kalepool.errors import ChainError, ConfigError, RpcUnavailableError
from kalepool.networks import DEVNET, Network
from kalepool.policy.timing import LedgerPace
from kalepool.protocol.model import Block, Pail

log = structlog.get_logger(__name__)

LAG_PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6)
"""Pauses before a node that is behind another is asked again."""

READERS_PART = 0.12
"""Of the requests a second that an RPC server is sent: so much is for a process that only reads, the coordinator."""

OVERDUE_LEDGERS = 2
"""After so many ledgers' time without one, other servers are asked if they have it."""

LIMITS_SECONDS = 600.0
"""How long the network's settings are taken to stay as they are."""

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R", bound=BaseModel)


class _LatestLedger(BaseModel):
    sequence: int = Field(ge=1)
    close_time: int = Field(alias="closeTime", gt=0)


class ChainReader:
    """The reading half of the one door to Stellar. An async context manager.

    Every read raises RpcUnavailableError where the RPC server gives no usable answer. A server behind a load balancer
    may be older than the one that answered before: such an answer is asked again, and never returned.
    """

    def __init__(
        self, network: Network, *, timeout_seconds: float = 10.0, requests_per_second: float | None = None
    ) -> None:
        if not network.rpc_urls:
            start = "start `kalepool up`, or " if network.name == DEVNET.name else ""
            raise ConfigError(f"no RPC server for {network.name}: {start}set KALEPOOL_RPC_URL")
        self.network = network
        """With `ledger_seconds` as the chain says, once `read_limits` was asked."""
        self._nominal_seconds = network.ledger_seconds
        self.asset = Asset(network.asset_code, network.asset_issuer)
        self._rpc = RpcServers(
            network.rpc_urls,
            network.passphrase,
            timeout_seconds=timeout_seconds,
            requests_per_second=requests_per_second,
        )
        self._gathered = GatheredReads(self._ask_entries)
        self._latest: Ledger | None = None  # the newest ledger whose close time is known,
        self._latest_at = 0.0  # and when it was first seen, by the monotonic clock
        self._pace = LedgerPace()
        self._highest = 0  # the newest ledger that any answer named
        self._index_guess = 0
        self._limits: tuple[float, Limits] | None = None
        self._fees: tuple[float, Fees] | None = None
        self._lock = asyncio.Lock()  # many who need the same fees or limits ask once
        self._checked_network = False
        self._poll: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """One that leaves the RPC servers' requests to whoever sends transactions."""
        limit = settings.rpc_requests_per_second
        return cls(settings.chain, requests_per_second=None if limit is None else limit * READERS_PART)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        await self._gathered.close()
        await self._rpc.close()

    # Ledgers and time

    async def read_ledger(self) -> Ledger:
        """The latest closed ledger. It never goes back."""
        return (await self._read_health(self._rpc.read))[0]

    @property
    def ledger_age_seconds(self) -> float:
        """For how long no new ledger was seen. Whose clock is wrong does not matter."""
        return time.monotonic() - self._latest_at if self._latest is not None else 0.0

    @property
    def newest_ledger(self) -> int:
        """The newest ledger that any answer named; 0 before the first."""
        return self._highest

    @property
    def rpc_errors(self) -> Mapping[str, int]:
        """Unusable answers of the servers so far, by method. Tries that were repeated count each."""
        return self._rpc.errors

    @property
    def servers(self) -> RpcServers:
        """Who is asked."""
        return self._rpc

    async def read_health(self) -> RpcHealth:
        """One round trip to the server. Raises RpcUnavailableError, and ConfigError where it serves another network."""
        await self._check_network()
        started = time.perf_counter()
        ledger, oldest = await self._read_health(self._rpc.call)
        return RpcHealth(ledger=ledger, oldest_ledger=oldest, latency_seconds=time.perf_counter() - started)

    async def _check_network(self) -> None:
        if not self._checked_network and not self._rpc.are_several:  # several are checked before they are asked
            found = await self._rpc.call("getNetwork", GetNetworkResponse)
            if found.passphrase != self.network.passphrase:
                raise ConfigError(
                    f"the RPC server {self._rpc.place} serves {found.passphrase!r}, not {self.network.name}: set "
                    "KALEPOOL_RPC_URL to a server of that network"
                )
            self._checked_network = True

    async def next_ledger(self, after: int, timeout_seconds: float) -> Ledger | None:
        """Wait for a ledger beyond `after`; None when none came in time. All who wait share one poll of the server."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._latest is None or self._latest.sequence <= after:
                    if self._poll is None or self._poll.done():
                        self._poll = asyncio.create_task(self._poll_ledger())
                    await asyncio.shield(self._poll)
                return self._latest
        except TimeoutError:
            return None

    async def now(self) -> datetime:
        """The ledger's clock: our own, unless it disagrees with the ledgers' close times; then theirs, carried on."""
        if self._latest is None or time.monotonic() - self._latest_at > 12 * self.network.ledger_seconds + 10:
            await self.read_ledger()
        return self._reckon()

    def _reckon(self) -> datetime:
        """`now` without asking, by the newest ledger known."""
        ours = datetime.now(UTC)
        if self._latest is None:
            return ours
        reckoned = self._latest.closed_at + timedelta(seconds=time.monotonic() - self._latest_at)
        # A ledger is seen up to one ledger's time after it closed; close times are whole seconds.
        agrees = timedelta(seconds=-1) <= ours - reckoned <= timedelta(seconds=self.network.ledger_seconds + 5)
        return ours if agrees else reckoned

    # The farm

    async def read_farm(self) -> Farm:
        """The contract's state and its current block, from one ledger."""
        contract = self.network.contract_id
        for _ in range(3):
            guess = self._index_guess
            instance_key = entries.instance_key(contract)
            block_keys = {index: entries.block_entry_key(contract, index) for index in (guess, guess + 1)}
            found, ledger = await self._read_entries([instance_key, *block_keys.values()])
            if instance_key not in found:
                try:
                    await self._check_network()
                except ConfigError as error:
                    raise ChainError(str(error)) from None
                except ChainError as error:
                    log.debug("network_not_told", error=str(error))
                raise ChainError(f"no contract {contract} on {self.network.name}: is KALEPOOL_CONTRACT_ID right?")
            index, farm_block, paused = self._decoded(entries.farm_state, found[instance_key])
            if index is not None:
                self._index_guess = index
            if index is None or index in block_keys:
                entry = found.get(block_keys[index]) if index is not None else None
                block = None if entry is None else self._decoded(entries.block, entry)
                wasm = self._decoded(entries.contract_wasm, found[instance_key])
                return Farm(ledger, self._closed_at(ledger), index, farm_block, block, paused, wasm)
        raise RpcUnavailableError("the farm's index kept moving while it was read")

    async def read_blocks(self, indexes: Iterable[int]) -> dict[int, Block]:
        """The blocks that still exist, by index."""
        contract = self.network.contract_id
        keys = {index: entries.block_entry_key(contract, index) for index in indexes}
        found, _ = await self._read_entries(list(keys.values()))
        return {index: self._decoded(entries.block, found[key]) for index, key in keys.items() if key in found}

    async def read_pails(self, pails: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Pail]:
        """The pails that exist, by (farmer, index)."""
        return {name: pail for name, (pail, _) in (await self.read_pails_with_ends(pails)).items()}

    async def read_pails_with_ends(self, pails: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[Pail, int]]:
        """The pails that exist, by (farmer, index), each with the last ledger that it lives in."""
        contract = self.network.contract_id
        keys = {(farmer, index): entries.pail_entry_key(contract, farmer, index) for farmer, index in pails}
        ends: dict[str, int] = {}
        found, ledger = await self._read_entries(list(keys.values()), ends)
        return {
            name: (self._decoded(entries.pail, found[key]), ends.get(key, ledger))
            for name, key in keys.items()
            if key in found
        }

    # Accounts and fees

    async def read_accounts(self, addresses: Iterable[str]) -> dict[str, Account]:
        """The accounts that exist, each with its KALE trustline, by address."""
        accounts: dict[str, Account] = {}
        # As many as one request takes: making and reading the keys of a thousand would hold up everything else.
        for some in entries.batches(list(addresses), entries.MAX_KEYS // 2):
            keys = {
                address: (entries.account_key(address), entries.trustline_key(address, self.asset)) for address in some
            }
            found, ledger = await self._read_entries([key for pair in keys.values() for key in pair])
            read = {
                address: self._decoded(
                    lambda entry, line=line, found=found: entries.account(entry, found.get(line)), found[key]
                )
                for address, (key, line) in keys.items()
                if key in found
            }
            self._saw_accounts(read, ledger)
            accounts |= read
        return accounts

    async def read_kale(self, addresses: Iterable[str]) -> dict[str, int]:
        """The stroops of KALE that each has: of accounts (G…) those with a trustline, of contracts (C…) all."""
        wanted = list(addresses)
        accounts = await self.read_accounts([each for each in wanted if not each.startswith("C")])
        held = {each: row.kale_stroops for each, row in accounts.items() if row.kale_stroops is not None}
        keys = {
            each: entries.holding_key(self.network.asset_contract_id, each) for each in wanted if each.startswith("C")
        }
        found, _ = await self._read_entries(list(keys.values()))
        return held | {
            each: self._decoded(entries.holding, found[key]) if key in found else 0 for each, key in keys.items()
        }

    async def read_holding(self, address: str, indexes: Iterable[int]) -> HeldAndPlanted:
        """The KALE of an account (G…) or a contract (C…) and its pails in these blocks, the newest of them where they
        are more than one request takes: all of one ledger."""
        line, native = entries.holding_key(self.network.asset_contract_id, address), None
        if not address.startswith("C"):
            line, native = entries.trustline_key(address, self.asset), entries.account_key(address)
        newest = sorted(indexes)[2 - entries.MAX_KEYS :]
        pails = {index: entries.pail_entry_key(self.network.contract_id, address, index) for index in newest}
        found, ledger = await self._read_entries([each for each in (native, line, *pails.values()) if each])
        account, kale = None, 0
        if native is None:
            kale = self._decoded(entries.holding, found[line]) if line in found else 0
        elif native in found:
            account = self._decoded(lambda entry: entries.account(entry, found.get(line)), found[native])
            kale = account.kale_stroops or 0
            self._saw_accounts({address: account}, ledger)
        there = {index: self._decoded(entries.pail, found[key]) for index, key in pails.items() if key in found}
        return HeldAndPlanted(account, kale, there)

    def _saw_accounts(self, accounts: Mapping[str, Account], ledger: int) -> None:
        """What was read of accounts, as of a ledger."""

    async def read_receiver(self, destination: Destination) -> Receiver:
        """What there is where money is to go."""
        if destination.account is None:
            key = entries.instance_key(destination.address)
            found, _ = await self._read_entries([key])
            return Receiver(key in found)
        account = destination.account
        key, line = entries.account_key(account), entries.trustline_key(account, self.asset)
        asks = entries.data_key(account, MEMO_REQUIRED)
        found, _ = await self._read_entries([key, line, asks])
        wants_memo = asks in found and self._decoded(entries.data_value, found[asks]) == b"1"
        return Receiver(key in found, line in found or account == self.network.asset_issuer, wants_memo)

    async def read_payees(self, accounts: Iterable[str]) -> dict[str, Payee]:
        """What each account (G…) or contract (C…) can be paid in KALE."""
        wanted = list(accounts)
        payees = await self._read_contract_payees([each for each in wanted if each.startswith("C")])
        for some in entries.batches([each for each in wanted if each not in payees], entries.MAX_KEYS // 3):
            keys = {
                address: (
                    entries.account_key(address),
                    entries.trustline_key(address, self.asset),
                    entries.data_key(address, MEMO_REQUIRED),
                )
                for address in some
            }
            found, _ = await self._read_entries([key for each in keys.values() for key in each])
            for address, (key, line, memo) in keys.items():
                there = (found.get(key), found.get(line), found.get(memo))
                payees[address] = self._decoded(lambda parts: entries.payee(*parts), there)
        return payees

    async def _read_contract_payees(self, contracts: Sequence[str]) -> dict[str, Payee]:
        payees: dict[str, Payee] = {}
        asset = self.network.asset_contract_id
        for some in entries.batches(contracts, entries.MAX_KEYS // 2):
            keys = {each: (entries.instance_key(each), entries.holding_key(asset, each)) for each in some}
            found, _ = await self._read_entries([key for pair in keys.values() for key in pair])
            for address, (instance, kept) in keys.items():
                there = (found.get(instance), found.get(kept))
                payees[address] = self._decoded(lambda parts: entries.contract_payee(*parts), there)
        return payees

    async def read_claimables(self, balance_ids: Iterable[bytes]) -> tuple[set[bytes], int]:
        """Which of these claimable balances are there, and the ledger of the answer."""
        keys = {entries.claimable_key(each): each for each in balance_ids}
        found, ledger = await self._read_entries(list(keys))
        return {balance_id for key, balance_id in keys.items() if key in found}, ledger

    async def read_signers(self, address: str) -> tuple[int, dict[str, int]] | None:
        """Who signs for an account: its medium threshold, and each key's weight. None where it does not exist."""
        key = entries.account_key(address)
        found, _ = await self._read_entries([key])
        return self._decoded(entries.signers, found[key]) if key in found else None

    async def read_kale_price(self) -> float | None:
        """XLM for a KALE by the reserves of their liquidity pool. None where there is no such pool, or nothing in
        it."""
        key = entries.liquidity_pool_key(self.asset)
        found, _ = await self._read_entries([key])
        return self._decoded(entries.pool_price, found[key]) if key in found else None

    async def read_fees(self) -> Fees:
        """What inclusion cost in recent ledgers; asked at most once a ledger."""
        async with self._lock:
            if self._fees is None or time.monotonic() - self._fees[0] >= self.network.ledger_seconds:
                stats = await self._rpc.read("getFeeStats", GetFeeStatsResponse)
                fees = Fees(stats.latest_ledger, _bids(stats.soroban_inclusion_fee), _bids(stats.inclusion_fee))
                self._fees = (time.monotonic(), fees)
            return self._fees[1]

    async def read_limits(self) -> Limits:
        """What the network allows one contract call, how long its temporary entries live, and how fast its ledgers are
        to be, which `network` has from then on: by its own settings, which validators may change; asked now and then.
        """
        async with self._lock:
            if self._limits is None or time.monotonic() - self._limits[0] >= LIMITS_SECONDS:
                found, _ = await self._read_entries(entries.limit_keys())
                limits = self._decoded(entries.limits, found.values())
                self._limits = time.monotonic(), limits
                self._saw_pace(limits.ledger_seconds or self._nominal_seconds)
            return self._limits[1]

    def _saw_pace(self, ledger_seconds: float) -> None:
        if ledger_seconds != self.network.ledger_seconds:
            log.info("ledger_seconds", seconds=ledger_seconds, before=self.network.ledger_seconds)
            self.network = replace(self.network, ledger_seconds=ledger_seconds)

    # How it is done

    async def _read_entries(
        self, keys: Sequence[str], ends: dict[str, int] | None = None
    ) -> tuple[entries.Contents, int]:
        """Live entries by key, and the ledger of the last answer, in batches of MAX_KEYS. `ends`: gets the last ledger
        that each lives in, where it has one."""
        found: entries.Contents = {}
        ledger = self._highest
        for batch in entries.batches(keys):
            answer = await self._gathered.read(batch)
            ledger = answer.latest_ledger
            wanted = set(batch)
            for entry in answer.entries or ():
                if entry.key not in wanted:
                    continue  # it is of somebody else who was asking
                if entry.live_until_ledger is not None and entry.live_until_ledger < ledger:
                    continue  # a temporary entry past its time is gone
                if ends is not None and entry.live_until_ledger is not None:
                    ends[entry.key] = entry.live_until_ledger
                found[entry.key] = self._decoded(stellar_xdr.LedgerEntryData.from_xdr, entry.xdr)
        return found, ledger

    async def _ask_entries(self, keys: Keys) -> GetLedgerEntriesResponse:
        return await self._read_fresh(
            "getLedgerEntries", GetLedgerEntriesResponse, lambda: {"keys": list(keys())}, lambda a: a.latest_ledger
        )

    async def _read_fresh(self, method: str, answer: type[R], params: Params, ledger_of: Callable[[R], int]) -> R:
        """Read, and again while the node that answers is behind what was already seen."""
        ledger = 0
        for pause in (*LAG_PAUSES_SECONDS, None):
            result = await self._rpc.read(method, answer, params)
            ledger = ledger_of(result)
            if ledger >= max(self._highest, self._rpc.newest, 1):
                self._highest = ledger
                return result
            log.debug("rpc_lags", method=method, ledger=ledger, seen=self._highest)
            if pause is not None:
                await asyncio.sleep(pause)
        raise RpcUnavailableError(
            f"{method}: {self._rpc.place} is at ledger {ledger}, and ledger {self._highest} was seen before: "
            "a node that lags, or a chain that was started anew (then restart this process)"
        )

    async def _read_health(self, ask: Callable[..., Any]) -> tuple[Ledger, int]:
        health: HealthAnswer = await ask("getHealth", HealthAnswer)
        sequence, close_time = health.latest_ledger, health.latest_ledger_close_time
        if close_time is None:
            latest: _LatestLedger = await ask("getLatestLedger", _LatestLedger)
            sequence, close_time = latest.sequence, latest.close_time
        return self._observe(sequence, close_time), health.oldest_ledger

    def _observe(self, sequence: int, close_time: int) -> Ledger:
        """Remember a closed ledger that an answer named; gives the newest known."""
        if sequence < 1 or close_time < 1:
            raise RpcUnavailableError(f"{self._rpc.place} named ledger {sequence}, closed at {close_time}")
        if self._latest is None or sequence > self._latest.sequence:
            self._latest = Ledger(sequence, datetime.fromtimestamp(close_time, UTC))
            self._latest_at = time.monotonic()
            self._pace.saw(sequence, self._latest_at)
        self._highest = max(self._highest, sequence)
        return self._latest

    def _closed_at(self, ledger: int) -> datetime | None:
        return self._latest.closed_at if self._latest is not None and self._latest.sequence == ledger else None

    async def _poll_ledger(self) -> None:
        nominal = self.network.ledger_seconds
        await asyncio.sleep(max(self._pace.next_look(nominal, time.monotonic()), self._rpc.watch_seconds))
        if self.ledger_age_seconds > OVERDUE_LEDGERS * self.network.ledger_seconds:
            self._rpc.hear_others()
        try:
            await self._read_health(self._rpc.call)
        except RateLimitedError as error:
            await asyncio.sleep(min(error.retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
        except ChainError as error:
            log.debug("ledger_poll_failed", reason=str(error))

    def _decoded(self, decode: Callable[[A], B], value: A) -> B:
        """Decode, and name the server where what it gave cannot be."""
        try:
            return decode(value)
        except (ValueError, TypeError, KeyError, EOFError, AttributeError, AssertionError) as error:
            raise RpcUnavailableError(
                f"{self._rpc.place} gave an entry that cannot be read ({type(error).__name__}: {error})"
            ) from None


def _bids(stats: FeeDistribution) -> FeeBids:
    return FeeBids(min=stats.min, p70=stats.p70, p90=stats.p90, p99=stats.p99, max=stats.max)
