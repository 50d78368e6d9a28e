"""The one door to Stellar: read, prepare, submit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import structlog
from stellar_sdk import Operation
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.memo import Memo
from stellar_sdk.soroban_rpc import GetNetworkResponse, RestorePreamble, SimulateTransactionResponse

from kalepool import tracing
from kalepool.actions import ActionName
from kalepool.chain import building, decoding
from kalepool.chain.alike import Examples, PailToWork
from kalepool.chain.destinations import Destination
from kalepool.chain.past_reader import PastReader
from kalepool.chain.purses import Purses
from kalepool.chain.reader import READERS_PART
from kalepool.chain.records import HarvestPlan, Outcome, Prepared, Share, Signer, Status
from kalepool.chain.relayer import Relayer
from kalepool.config import Settings
from kalepool.errors import (
    AccountMissingError,
    BadSequenceError,
    ChainError,
    ConfigError,
    DeadlinePassedError,
    FeeUnpaidError,
    FootprintStaleError,
    InputError,
    KalepoolError,
    NothingHarvestableError,
    ResourceLimitError,
    RpcUnavailableError,
    TransactionFailedError,
)
from kalepool.networks import Network
from kalepool.policy.submitters import Relay, relay
from kalepool.units import plain

log = structlog.get_logger(__name__)

NEEDED_LEDGERS = 3
"""For so many ledgers no transaction bids less than the network has asked for when it refused one."""

FORESEEN_LEDGERS = 4
"""A work's simulation is good for so many ledgers: it touches what no other call in the block makes larger."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A call's simulation, made ahead."""

    simulation: SimulateTransactionResponse

    @property
    def ledger(self) -> int:
        return self.simulation.latest_ledger or 0


Record = Callable[[Prepared], Awaitable[None]]
Close = Callable[[Prepared, Outcome], Awaitable[None]]


class Chain(PastReader):
    """Reads, prepares and submits on one Stellar network. An async context manager.

    prepare_… simulates, sets fees and signs, and sends nothing: it raises the contract's typed error where simulation
    refuses, DeadlinePassedError, FeeTooHighError, AccountMissingError or RpcUnavailableError. What it gives is valid
    for a few ledgers and never beyond `deadline`. `attempt` counts from 1: a later one bids more. Where there is a
    relayer, calls of the KALE contract are prepared for it first, see policy/submitters.py.

    An account carries one transaction at a time: prepare its next only after the outcome of the last.
    """

    def __init__(
        self,
        network: Network,
        *,
        fee_cap_stroops: int,
        timeout_seconds: float = 10.0,
        requests_per_second: float | None = None,
    ) -> None:
        super().__init__(network, timeout_seconds=timeout_seconds, requests_per_second=requests_per_second)
        self._fee_cap_stroops = fee_cap_stroops
        self._purses = Purses()
        self._examples = Examples(network.contract_id)
        self._spares: dict[str, tuple[int, int]] = {}  # by payer: the ledger it was read in, and XLM for fees
        self._needed: dict[bool, tuple[int, int]] = {}  # of calls, of others: in which ledger, stroops per operation
        self.pool_lock = asyncio.Lock()
        """Held while the pool's own account is the source of a transaction."""
        self.note_restore: Callable[[str, int], Awaitable[None]] | None = None
        """Awaited with source and sequence number before archived entries are brought back: that is not journalled."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        limit = settings.rpc_requests_per_second
        chain = cls(
            settings.chain,
            fee_cap_stroops=settings.fee_cap_stroops,
            requests_per_second=None if limit is None else limit * (1 - READERS_PART),
        )
        if settings.relayer_url is not None and settings.relayer_key is not None:
            key = settings.relayer_key.get_secret_value()
            chain.relayer = Relayer(settings.relayer_url, key, settings.chain.ledger_seconds)
        return chain

    # Farming

    async def prepare_plant(
        self, farmer: Signer, amount_stroops: int, *, pool: Signer, deadline: datetime, attempt: int = 1
    ) -> Prepared:
        """plant(farmer, amount): the farmer's account is the source, its signature the authorisation; the pool pays."""
        call = building.plant_call(self.network.contract_id, farmer.public_key, amount_stroops)
        return await self._prepare_call(ActionName.PLANT, call, farmer, payer=pool, deadline=deadline, attempt=attempt)

    async def foresee_work(self, pail: PailToWork, digest: bytes, nonce: int) -> Foreseen:
        """The simulation of a work whose channel account is not known yet: one for all that are alike, so hash and
        zeros are the caller's to check. Raises as prepare_…"""
        call = building.work_call(self.network.contract_id, pail.farmer, digest, nonce)
        oldest = self._highest - FORESEEN_LEDGERS
        return Foreseen(await self._examples.work(pail, oldest, lambda: self._simulate(call, building.NOBODY)))

    def is_good(self, foreseen: Foreseen) -> bool:
        """Whether what was foreseen is not too old to be sent."""
        return foreseen.ledger >= self._highest - FORESEEN_LEDGERS

    async def prepare_work(
        self,
        farmer: str,
        digest: bytes,
        nonce: int,
        *,
        channel: Signer,
        deadline: datetime,
        attempt: int = 1,
        lands_by: datetime | None = None,
        foreseen: Foreseen | None = None,
    ) -> Prepared:
        """work(farmer, hash, nonce), from a channel account, which also pays. `forecast` is the gap, as of `foreseen`
        where that is given and not old. `lands_by`: the end of the block, where the deadline is a later one."""
        call = building.work_call(self.network.contract_id, farmer, digest, nonce)
        return await self._prepare_call(
            ActionName.WORK,
            call,
            channel,
            deadline=deadline,
            attempt=attempt,
            lands_by=lands_by,
            foreseen=foreseen,
        )

    async def prepare_harvest(
        self, items: Sequence[tuple[str, int]], *, channel: Signer, deadline: datetime, attempt: int = 1
    ) -> Prepared:
        """Harvest pails (farmer, index) of one farmer: a single one directly, several through the tractor.

        `forecast` is the reward, or a tuple of them in the order of `items`, where 0 stands for a pail that the tractor
        could not harvest (or a reward of 0): use `plan_harvests` to sort those out before. Raises ResourceLimitError
        where the pails are too many for one transaction, NothingHarvestableError where the tractor finds none.
        """
        call = self._harvest_call(items)
        return await self._prepare_call(ActionName.HARVEST, call, channel, deadline=deadline, attempt=attempt)

    async def plan_harvests(self, items: Iterable[tuple[str, int]]) -> HarvestPlan:
        """Pack pails into as few transactions as they fit, by simulation. Raises RpcUnavailableError.

        The tractor takes the pails of one farmer, and gives 0 for those it could not harvest, so one of them does not
        stop the others; each such pail is simulated alone to learn why. A single pail of a farmer, and every pail where
        the network has no tractor, becomes a batch of its own unseen.
        """
        farmers: dict[str, list[int]] = {}
        for farmer, index in dict.fromkeys(items):
            farmers.setdefault(farmer, []).append(index)
        limits = await self.read_limits()
        most = max(min((limits.footprint_entries - 10) // 2, limits.write_entries - 3), 1)  # block and pail of each
        batches: list[tuple[tuple[str, int], ...]] = []
        refused: dict[tuple[str, int], KalepoolError] = {}
        packs: list[tuple[str, list[int]]] = []
        for farmer, indexes in farmers.items():
            if self.network.tractor_id is None or len(indexes) == 1:
                batches += [((farmer, index),) for index in indexes]
            else:
                packs += [(farmer, indexes[start : start + most]) for start in range(0, len(indexes), most)]
        for good, bad in await asyncio.gather(*(self._pack(farmer, indexes) for farmer, indexes in packs)):
            batches += good
            refused |= bad
        return HarvestPlan(tuple(batches), refused)

    # Accounts

    async def prepare_create_accounts(
        self, accounts: Sequence[tuple[str, int]], *, pool: Signer, deadline: datetime, attempt: int = 1
    ) -> Prepared:
        """Create accounts (address, starting stroops), at most 100, from the pool's."""
        if not 0 < len(accounts) <= building.MAX_OPERATIONS:
            raise InputError(f"{len(accounts)} accounts to create: a transaction takes 1 to 100")
        operations = [building.create_account(address, stroops) for address, stroops in accounts]
        return await self._prepare_classic(ActionName.CREATE_ACCOUNT, operations, pool, None, deadline, attempt)

    async def prepare_trustline(
        self, farmer: Signer, *, pool: Signer | None, deadline: datetime, attempt: int = 1
    ) -> Prepared:
        """Add the KALE trustline to the farmer's account, whose XLM is the reserve; `pool` pays the fee where given."""
        operations = [building.trustline(self.asset)]
        return await self._prepare_classic(ActionName.TRUSTLINE, operations, farmer, pool, deadline, attempt)

    async def prepare_sponsored(
        self, farmer: Signer, *, create: bool, pool: Signer, channel: Signer, deadline: datetime, attempt: int = 1
    ) -> Prepared:
        """The farmer's KALE trustline, and before it, to `create`, its account without any XLM: the pool's account pays
        the reserves, until the account is merged; the channel pays the fee."""
        made = [building.create_account(farmer.public_key, 0, pool.public_key)] if create else []
        operations = building.sponsored(
            farmer.public_key,
            pool.public_key,
            [*made, building.trustline(self.asset, source=farmer.public_key)],
        )
        return await self._prepare_classic(
            ActionName.TRUSTLINE, operations, channel, None, deadline, attempt, others=[pool, farmer]
        )

    async def prepare_payment(
        self,
        source: Signer,
        destination: Destination | str,
        *,
        kale_stroops: int = 0,
        native_stroops: int = 0,
        pool: Signer | None = None,
        deadline: datetime,
        attempt: int = 1,
        also: tuple[str, int] | None = None,
        action: ActionName = ActionName.PAYMENT,
    ) -> Prepared:
        """Pay KALE, XLM or both to one destination, all or nothing; `pool` pays the fee where given. `also`: KALE to
        one more account (address, stroops), unless a contract is paid.

        A contract is paid through the asset's own, and one asset at a time.
        """
        to = Destination(destination) if isinstance(destination, str) else destination
        if not (kale_stroops or native_stroops) or min(kale_stroops, native_stroops) < 0:
            raise InputError(f"a payment of {kale_stroops} stroops KALE and {native_stroops} stroops XLM")
        if to.is_contract:
            if kale_stroops and native_stroops:
                raise InputError("a contract is paid KALE or XLM in one transaction, not both")
            contract = self.network.asset_contract_id if kale_stroops else self._native_contract_id
            amount = kale_stroops or native_stroops
            call = building.transfer_call(contract, source.public_key, to.address, amount)
            return await self._prepare_call(action, call, source, payer=pool, deadline=deadline, attempt=attempt)
        operations = [
            building.payment(to.address, asset, stroops)
            for asset, stroops in ((self.asset, kale_stroops), (building.NATIVE, native_stroops))
            if stroops
        ]
        if also is not None:
            operations.append(building.payment(also[0], self.asset, also[1]))
        return await self._prepare_classic(action, operations, source, pool, deadline, attempt, memo=to.as_memo())

    async def prepare_shares(
        self,
        source: Signer,
        shares: Sequence[Share],
        *,
        pool: Signer,
        deadline: datetime,
        attempt: int = 1,
        action: ActionName = ActionName.PAYOUT,
    ) -> Prepared:
        """Pay KALE to many accounts, at most 100, or put it down to be claimed, all or none; `pool` pays the fee. All
        have the same memo, if any."""
        memos = {each.to.memo for each in shares}
        if not 0 < len(shares) <= building.MAX_OPERATIONS or len(memos) > 1:
            raise InputError(f"{len(shares)} payments, {len(memos)} memos: a transaction takes 1 to 100, and one memo")
        operations = [
            building.payment(each.to.address, self.asset, each.stroops)
            if each.until is None
            else building.claimable(self.asset, each.stroops, each.to.address, source.public_key, each.until)
            for each in shares
        ]
        memo = shares[0].to.as_memo()
        return await self._prepare_classic(action, operations, source, pool, deadline, attempt, memo=memo)

    async def prepare_take_back(
        self, source: Signer, balances: Sequence[bytes], *, pool: Signer, deadline: datetime, attempt: int = 1
    ) -> Prepared:
        """Take back what was put down and not claimed in time, at most 100 balances by their ids, all or none; `pool`
        pays the fee."""
        if not 0 < len(balances) <= building.MAX_OPERATIONS:
            raise InputError(f"{len(balances)} balances: a transaction takes 1 to 100")
        operations = [building.claim(balance_id) for balance_id in balances]
        return await self._prepare_classic(ActionName.TAKE_BACK, operations, source, pool, deadline, attempt)

    async def prepare_collection(
        self,
        farmers: Sequence[tuple[Signer, int]],
        destination: str,
        *,
        channel: Signer,
        deadline: datetime,
        attempt: int = 1,
    ) -> Prepared:
        """KALE of many accounts, each with its signature, to one; from a channel, which pays. At most 19: an envelope
        takes 20 signatures."""
        if not 0 < len(farmers) <= building.MAX_SIGNATURES - 1:
            raise InputError(f"{len(farmers)} wallets: a transaction takes the signatures of 1 to 19 and the channel's")
        operations = [
            building.payment(destination, self.asset, stroops, signer.public_key) for signer, stroops in farmers
        ]
        others = [signer for signer, _ in farmers]
        return await self._prepare_classic(
            ActionName.COLLECT, operations, channel, None, deadline, attempt, others=others
        )

    async def prepare_limit(
        self,
        source: Signer,
        destination: Destination,
        *,
        kale_stroops: int,
        limit_stroops: int,
        pool: Signer,
        deadline: datetime,
        attempt: int = 1,
    ) -> Prepared:
        """Pay so much KALE, if any, and let the source's trustline take no more than up to a limit, above 0."""
        operations: list[Operation] = []
        if kale_stroops:
            operations.append(building.payment(destination.address, self.asset, kale_stroops))
        operations.append(building.trustline(self.asset, limit_stroops))
        action = ActionName.PAYMENT if kale_stroops else ActionName.TRUSTLINE
        return await self._prepare_classic(
            action, operations, source, pool, deadline, attempt, memo=destination.as_memo()
        )

    async def prepare_close(
        self,
        source: Signer,
        destination: Destination,
        *,
        kale_stroops: int | None,
        native_stroops: int,
        pool: Signer,
        deadline: datetime,
        attempt: int = 1,
    ) -> Prepared:
        """Close an account, in one transaction, all or nothing: it is merged into the pool's own, which pays all its
        XLM to `destination`, for many credit nothing that comes by a merge.

        `kale_stroops` is its whole KALE balance, paid first, and the trustline removed; None: it has no trustline. A
        contract is paid nothing by this: it has had the KALE before, dust that came since goes to the issuer, and its
        XLM has to be passed on. Whose reserves the pool pays may have no XLM at all.
        """
        operations: list[Operation] = []
        if kale_stroops:
            to = self.network.asset_issuer if destination.is_contract else destination.address
            operations.append(building.payment(to, self.asset, kale_stroops))
        if kale_stroops is not None:
            operations.append(building.trustline(self.asset, 0))
        operations.append(building.merge(pool.public_key))
        others: list[Signer] = []
        if native_stroops and not destination.is_contract:
            operations.append(
                building.payment(destination.address, building.NATIVE, native_stroops, source=pool.public_key)
            )
            others.append(pool)
        return await self._prepare_classic(
            ActionName.MERGE, operations, source, pool, deadline, attempt, memo=destination.as_memo(), others=others
        )

    @property
    def _native_contract_id(self) -> str:
        return building.NATIVE.contract_id(self.network.passphrase)

    async def fund(self, address: str, *, kale_stroops: int = 0) -> None:
        """Ask the network's friendbot for an account with free XLM; or a devnet's for KALE, where there is a trustline.

        Raises ConfigError where the network has no friendbot, RpcUnavailableError where it gives nothing.
        """
        url = self.network.friendbot_url or (await self._rpc.read("getNetwork", GetNetworkResponse)).friendbot_url
        if not url:
            raise ConfigError(f"{self.network.name} has no friendbot: pay XLM to {address} yourself")
        asked = {"addr": address}
        if kale_stroops:
            asked["kale"] = Operation.from_xdr_amount(kale_stroops)
        answer = await self._rpc.get(url, asked)
        if answer.status_code == 400 and not kale_stroops and address in await self.read_accounts([address]):
            return  # it is called an error, but the account is there
        if answer.status_code != 200:
            raise RpcUnavailableError(f"friendbot answered {answer.status_code} for {address}: {answer.text[:200]}")

    # Submitting

    async def submit_retrying(
        self,
        prepare: Callable[[int], Awaitable[Prepared]],
        *,
        deadline: datetime,
        record: Record,
        close: Close,
    ) -> Outcome:
        """Prepare, record, send and follow; again where it makes sense, until the deadline and never otherwise.

        `prepare(attempt)` makes the transaction. `record` is awaited before it is sent: journal it there. `close` is
        awaited with every attempt's outcome. Tried again: an attempt that expired, a bad sequence number, a stale
        footprint, a fee that was too low, and preparing while the server gives no usable answer. An attempt whose
        outcome is unknown is returned as such and never repeated.

        Raises what `prepare` raises; DeadlinePassedError where not even one attempt was made in time. Where a later
        attempt cannot be prepared any more because time is over, the last outcome is returned.
        """
        outcome: Outcome | None = None
        attempt = 1
        while True:
            try:
                prepared = await prepare(attempt)
                has_room = self._purses.take(prepared, await self._spare_of(prepared.payer))
            except DeadlinePassedError:
                if outcome is not None:
                    return outcome
                raise
            except RpcUnavailableError as error:
                if self._reckon() + timedelta(seconds=self.network.ledger_seconds) >= deadline:
                    if outcome is not None:
                        return outcome
                    raise
                log.info("prepare_again", attempt=attempt, reason=str(error))
                await asyncio.sleep(min(self.network.ledger_seconds / 2, 1.0))
                continue
            if not has_room:
                await self._await_purse(prepared, deadline)
                continue
            try:
                await record(prepared)
                with tracing.span("send", action=prepared.action):
                    outcome = await self.submit(prepared)
            finally:
                self._purses.give_back(prepared)
            await close(prepared, outcome)
            if not may_retry(outcome) or self._reckon() >= deadline:
                return outcome
            log.info("submit_again", action=prepared.action, attempt=attempt, result_code=outcome.result_code)
            if outcome.needed_bid:  # what would have been taken is bid at once
                self._needed[prepared.function is not None] = self._highest, outcome.needed_bid
            elif (
                outcome.ledger is None and outcome.status is Status.FAILED
            ):  # what was refused now is refused again now
                await self.next_ledger(self._highest, 2 * self.network.ledger_seconds)
            attempt += 1

    # How it is done

    def _saw_pace(self, ledger_seconds: float) -> None:
        super()._saw_pace(ledger_seconds)
        if self.relayer is not None:
            self.relayer.ledger_seconds = ledger_seconds

    async def _spare_of(self, payer: str) -> int:
        """XLM that an account can pay fees with, asked for once a ledger, and only where something is pending."""
        if not self._purses.pending_stroops(payer):
            return 0
        ledger, spare = self._spares.get(payer, (0, 0))
        if ledger < self._highest or not ledger:
            account = (await self.read_accounts([payer])).get(payer)
            spare = 0 if account is None else account.spendable_stroops
            self._spares[payer] = self._highest, spare
        return spare

    async def _await_purse(self, prepared: Prepared, deadline: datetime) -> None:
        """Until a ledger has taken some of what is pending. Raises FeeUnpaidError when it is too late for that."""
        if self._reckon() + timedelta(seconds=2 * self.network.ledger_seconds) >= deadline:
            raise FeeUnpaidError(
                f"{prepared.payer} has {self._spares.get(prepared.payer, (0, 0))[1]} stroops of XLM for fees, and "
                f"{self._purses.pending_stroops(prepared.payer)} may be taken by what is pending already: fund it",
                result_code="txINSUFFICIENT_BALANCE",
            )
        log.info("payer_at_its_limit", payer=prepared.payer, action=prepared.action)
        await self.next_ledger(self._highest, 2 * self.network.ledger_seconds)

    async def _prepare_call(
        self,
        action: str,
        call: building.Call,
        source: Signer,
        *,
        payer: Signer | None = None,
        deadline: datetime,
        attempt: int,
        foreseen: Foreseen | None = None,
        lands_by: datetime | None = None,
    ) -> Prepared:
        await self._in_time(deadline)
        if foreseen is not None and self.is_good(foreseen):
            simulation = foreseen.simulation
        else:
            simulation = await self._simulate(call, source.public_key)
        if simulation.restore_preamble is not None:
            simulation = await self._restored(call, source, payer or source, deadline)
        data, auth, forecast = await self._simulated(call, simulation)
        operations = [call.operation(auth)]
        fees = (await self.read_fees()).contract
        sequence = await self._next_sequence(source.public_key)
        valid_until = await self._in_time(deadline)
        relayed = self._relay(action, attempt, deadline, lands_by or deadline)
        if relayed is not None:
            # The inner transaction bids the least, so when it is sent directly it is wrapped, too.
            payer, valid_until = payer or source, relayed.valid_until
        bid = building.bid(fees, attempt, self._fee_cap_stroops, 2 if payer else 1, self._needed_bid(True))
        if relayed is not None:
            bid = building.replacing_bid(bid, self._fee_cap_stroops)
        inner = building.envelope(
            source.public_key,
            sequence,
            operations,
            self.network.passphrase,
            valid_until=valid_until,
            soroban_data=data,
        )
        return building.signed(
            inner,
            source,
            action=action,
            payer=payer,
            bid_stroops=bid,
            ledger=simulation.latest_ledger,
            valid_until=valid_until,
            function=call.function,
            forecast=forecast,
            relayed_until=relayed and relayed.until,
        )

    def _relay(self, action: str, attempt: int, deadline: datetime, lands_by: datetime) -> Relay | None:
        if self.relayer is None or self.relayer.paused_seconds:
            return None
        return relay(
            action,
            attempt=attempt,
            now=self._reckon(),
            deadline=deadline,
            lands_by=lands_by,
            ledger_seconds=self.network.ledger_seconds,
        )

    async def _prepare_classic(
        self,
        action: str,
        operations: Sequence[Operation],
        source: Signer,
        payer: Signer | None,
        deadline: datetime,
        attempt: int,
        *,
        memo: Memo | None = None,
        others: Sequence[Signer] = (),
    ) -> Prepared:
        await self._in_time(deadline)
        count = len(operations) + (payer is not None)
        fees = (await self.read_fees()).classic
        bid = building.bid(fees, attempt, self._fee_cap_stroops, count, self._needed_bid(False))
        sequence = await self._next_sequence(source.public_key)
        valid_until = await self._in_time(deadline)
        inner = building.envelope(
            source.public_key, sequence, operations, self.network.passphrase, valid_until=valid_until, memo=memo
        )
        return building.signed(
            inner,
            source,
            action=action,
            payer=payer,
            bid_stroops=bid,
            ledger=self._highest,
            valid_until=valid_until,
            others=others,
        )

    def _needed_bid(self, is_call: bool) -> int:
        """What the network has just refused less than, in stroops per operation; 0 where that is some ledgers ago."""
        ledger, stroops = self._needed.get(is_call, (0, 0))
        return stroops if ledger + NEEDED_LEDGERS >= self._highest else 0

    async def _in_time(self, deadline: datetime) -> datetime:
        """Until when a transaction made now shall be valid, in whole seconds. Raises DeadlinePassedError.

        A validator refuses a time bound nearer than two ledgers (stellar-core getUpperBoundCloseTimeOffset).
        """
        now = await self.now()
        ledger = timedelta(seconds=self.network.ledger_seconds)
        until = min(deadline, now + 3 * ledger + timedelta(seconds=5)).replace(microsecond=0)
        if until < now + 2 * ledger:
            raise DeadlinePassedError(
                f"no time for a transaction: it is {now:%H:%M:%S} on the ledger, the deadline is {deadline:%H:%M:%S}, "
                "and the network takes none that is valid for less than two ledgers"
            )
        return until

    async def _next_sequence(self, address: str) -> int:
        if (last := self._known_sequence(address)) is None:
            account = (await self.read_accounts([address])).get(address)
            if account is None:
                raise AccountMissingError(f"account {address} does not exist on {self.network.name}: fund it first")
            last = account.sequence
        return last + 1

    async def _simulate(self, call: building.Call, source: str) -> SimulateTransactionResponse:
        """Simulate a call on the newest state known. Raises the contract's typed error where it is refused."""
        probe = building.envelope(source, 1, [call.operation()], self.network.passphrase)
        simulation = await self._read_fresh(
            "simulateTransaction",
            SimulateTransactionResponse,
            {
                "transaction": probe.to_xdr(),
                "resourceConfig": {"instructionLeeway": building.INSTRUCTION_LEEWAY},
            },
            lambda answer: answer.latest_ledger or (self._highest if answer.error else 0),
        )
        if simulation.error:
            raise decoding.simulation_error(simulation.error, simulation.events, self.network, call.function)
        return simulation

    async def refusal(self, call: building.Call, auth: Sequence[stellar_xdr.SorobanAuthorizationEntry]) -> str | None:
        """Why the network would not take a call with just these authorisations; None: it would. Nothing is sent.

        Raises RpcUnavailableError."""
        probe = building.envelope(building.NOBODY, 1, [call.operation(auth)], self.network.passphrase)
        simulation = await self._read_fresh(
            "simulateTransaction",
            SimulateTransactionResponse,
            {"transaction": probe.to_xdr(), "authMode": "enforce"},
            lambda answer: answer.latest_ledger or (self._highest if answer.error else 0),
        )
        return plain(simulation.error.partition("\n")[0]) if simulation.error else None

    async def _simulated(self, call: building.Call, simulation: SimulateTransactionResponse) -> building.Simulated:
        limits = await self.read_limits()
        return self._decoded(lambda found: building.simulated(found, limits, call.function), simulation)

    async def _restored(
        self, call: building.Call, source: Signer, payer: Signer, deadline: datetime
    ) -> SimulateTransactionResponse:
        """The call's simulation once what is archived was brought back: by one call for all that need it."""
        async with self.pool_lock:
            simulation = await self._simulate(call, source.public_key)
            if simulation.restore_preamble is not None:
                await self._restore(simulation.restore_preamble, payer, deadline)
                simulation = await self._simulate(call, source.public_key)
        return simulation

    async def _restore(self, preamble: RestorePreamble, payer: Signer, deadline: datetime) -> None:
        """Bring back archived entries the call needs: only a contract's instance or code can be.

        The one transaction that is sent without being in the journal: it moves nothing, and again does no harm.
        """
        limits = await self.read_limits()
        data = building.padded(preamble.transaction_data, preamble.min_resource_fee, limits, "restore")
        bid = building.bid((await self.read_fees()).contract, 1, self._fee_cap_stroops, 1)
        sequence = await self._next_sequence(payer.public_key)
        valid_until = await self._in_time(deadline)
        inner = building.envelope(
            payer.public_key,
            sequence,
            [building.restore()],
            self.network.passphrase,
            valid_until=valid_until,
            soroban_data=data,
        )
        if self.note_restore is not None:
            await self.note_restore(payer.public_key, sequence)
        outcome = await self.submit(
            building.signed(
                inner,
                payer,
                action="restore",
                payer=None,
                bid_stroops=bid,
                ledger=self._highest,
                valid_until=valid_until,
            )
        )
        log.info("entries_restored", status=str(outcome.status), transaction=outcome.transaction_hash)
        if outcome.status is not Status.APPLIED:
            raise outcome.error or RpcUnavailableError("whether archived entries were restored is unknown")

    def _harvest_call(self, items: Sequence[tuple[str, int]]) -> building.Call:
        farmers = {farmer for farmer, _ in items}
        if len(farmers) != 1:
            raise InputError(f"a harvest of {len(farmers)} farmers: one transaction takes the pails of one farmer")
        farmer = farmers.pop()
        if len(items) == 1:
            return building.harvest_call(self.network.contract_id, farmer, items[0][1])
        if self.network.tractor_id is None:
            raise InputError(f"{len(items)} pails in one harvest, and {self.network.name} has no tractor")
        return building.tractor_call(self.network.tractor_id, farmer, [index for _, index in items])

    async def _pack(
        self, farmer: str, indexes: Sequence[int]
    ) -> tuple[list[tuple[tuple[str, int], ...]], dict[tuple[str, int], KalepoolError]]:
        """Batches of one farmer's pails that fit, and the pails that cannot be harvested."""
        items = tuple((farmer, index) for index in indexes)
        rewards: Sequence[int] = (0,) * len(items)
        together = len(items) > 1
        if together:
            try:
                call = self._harvest_call(items)
                simulation = await self._simulate(call, farmer)
                _, _, forecast = await self._simulated(call, simulation)
                rewards = forecast if isinstance(forecast, tuple) and len(forecast) == len(items) else rewards
            except ResourceLimitError:
                half = len(indexes) // 2
                left, right = await asyncio.gather(
                    self._pack(farmer, indexes[:half]), self._pack(farmer, indexes[half:])
                )
                return left[0] + right[0], left[1] | right[1]
            except NothingHarvestableError:  # or rewards of 0 each, which the tractor takes for the same
                together = False
        refused: dict[tuple[str, int], KalepoolError] = {}
        for item, reward in zip(items, rewards, strict=True):
            if reward == 0:
                try:
                    await self._simulate(self._harvest_call([item]), farmer)
                except RpcUnavailableError:
                    raise
                except ChainError as error:
                    refused[item] = error
        good = tuple(item for item in items if item not in refused)
        return ([good] if good and together else [(item,) for item in good]), refused


def may_retry(outcome: Outcome) -> bool:
    """Whether a new transaction for the same purpose may be made: this one did nothing, and the next may."""
    if outcome.status is Status.EXPIRED:
        return True
    if outcome.status is not Status.FAILED:
        return False
    return isinstance(outcome.error, BadSequenceError | FootprintStaleError) or (
        isinstance(outcome.error, TransactionFailedError)
        and outcome.result_code in ("txTOO_LATE", "txINSUFFICIENT_FEE")
    )
