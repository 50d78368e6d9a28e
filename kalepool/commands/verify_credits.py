"""`kalepool verify-credits`: reckons a closed block's credits again, from what is public alone: the chain, the pool's
closing of the block, and the logs of all shares behind it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, BinaryIO, Protocol

import httpx2
import typer

from kalepool.commands.pool import AsJson, read_settings, show, show_json
from kalepool.config import Settings
from kalepool.errors import ChainError, ConfigError, InputError
from kalepool.mine.command import checked_url
from kalepool.policy.credits import HOUSE
from kalepool.policy.share_log import Closing, LogRecord, LogVerdict, check_closing, check_log, expected_credits
from kalepool.protocol.model import U32_MAX, Block
from kalepool.units import kale, plain

LINE_BYTES = 400
"""More than a line of a log has."""

TRIES = 10
PAUSE_SECONDS = 60.0
"""How often it is asked again who has to wait, and the longest pause before."""


class PublicChain(Protocol):
    """What is read of the chain."""

    async def read_blocks(self, indexes: list[int], /) -> dict[int, Block]: ...

    async def read_past(self, transaction_hash: str, /) -> Any: ...


@dataclass(slots=True)
class MinerCredit:
    """A miner's part in the block. hashes: in its window; shares: its own, hashed again; earns: by them; credited: what
    the pool posted."""

    hashes: int
    shares: int
    earns_stroops: int
    credited_stroops: int


@dataclass(slots=True)
class CreditReport:
    """What was found. miners: each, and the house. differs: what is not as it should be. unproven: what could not be
    held against the chain."""

    block_index: int
    shares: int = 0
    miners: dict[str, MinerCredit] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)


async def verify(http: httpx2.AsyncClient, chain: PublicChain | None, index: int) -> CreditReport:
    """Checks a block. chain: None where there is no RPC server to ask. Raises InputError for a block that the pool has
    not closed, ConfigError where it does not answer."""
    from pydantic import TypeAdapter, ValidationError

    report = CreditReport(index)
    try:
        closing = TypeAdapter(Closing).validate_python((await _get(http, f"/miner/blocks/{index}/closing")).json())
    except (ValidationError, ValueError) as error:
        raise InputError(f"what the pool says of block {index} cannot be read: {error}") from None
    first = index - closing.window_blocks + 1
    logs = [each for each in closing.logs if first <= each.block_index <= index]
    entropies = await _entropies(chain, [each.block_index for each in logs], report)
    verdicts: dict[int, LogVerdict] = {}
    for each in logs:
        entropy = entropies.get(each.block_index)
        if entropy is None and chain is not None:
            report.unproven.append(f"block {each.block_index}: the chain has forgotten its entropy: it is the log's")
        verdicts[each.block_index] = await _verdict(http, each, entropy)
    for verdict in verdicts.values():
        report.differs += verdict.told
    expected = expected_credits(closing, {block: verdict.hashes for block, verdict in verdicts.items()})
    solo = verdicts[index].solo if index in verdicts else set[tuple[str, int]]()
    report.differs += check_closing(closing, expected, solo)
    await _check_harvests(chain, closing, report)
    await _check_works(chain, closing, {farmer for farmer, _ in solo}, report)
    _fill(report, closing, verdicts, expected)
    return report


def _fill(
    report: CreditReport, closing: Closing, verdicts: Mapping[int, LogVerdict], expected: Mapping[str, int]
) -> None:
    names = {name for verdict in verdicts.values() for name in (*verdict.hashes, *verdict.shares)}
    names |= closing.credits.keys()
    of_miners = sum(stroops for name, stroops in closing.credits.items() if name != HOUSE)
    for name in sorted(names):
        credited = closing.credits.get(name, 0) if name != HOUSE else closing.shared_stroops - of_miners
        report.miners[name] = MinerCredit(
            hashes=sum(verdict.hashes.get(name, 0) for verdict in verdicts.values()),
            shares=sum(verdict.shares.get(name, 0) for verdict in verdicts.values()),
            earns_stroops=expected.get(name, 0),
            credited_stroops=credited,
        )
    report.shares = sum(each.shares for each in report.miners.values())


async def _entropies(chain: PublicChain | None, indexes: list[int], report: CreditReport) -> dict[int, bytes]:
    if chain is None:
        report.unproven.append("nothing was held against the chain: set KALEPOOL_RPC_URL, or give --rpc-url")
        return {}
    return {index: block.entropy for index, block in (await chain.read_blocks(indexes)).items()}


async def _check_harvests(chain: PublicChain | None, closing: Closing, report: CreditReport) -> None:
    """Each reward is what its transaction brought."""
    if chain is None:
        return
    known: dict[str, Any] = {}
    for each in closing.harvests:
        name = each.transaction_hash
        if name is not None and name not in known:
            known[name] = await chain.read_past(name)
        past = known[name] if name is not None else None
        if past is None:
            why = "somebody else harvested" if name is None else "the RPC server has forgotten the transaction"
            report.unproven.append(f"the reward of {each.farmer}: {why}")
            continue
        transaction, outcome = past
        rewards = outcome.return_value if isinstance(outcome.return_value, tuple) else (outcome.return_value,)
        brought = {
            (part.wallet, part.block_index): reward for part, reward in zip(transaction.parts, rewards, strict=False)
        }
        reward = brought.get((each.farmer, closing.block_index))
        if reward != each.reward_stroops:
            said = "did not harvest it" if reward is None else f"brought {reward} stroops"
            report.differs.append(
                f"the reward of {each.farmer}: transaction {name} {said}, the closing says {each.reward_stroops}"
            )


async def _check_works(
    chain: PublicChain | None, closing: Closing, solo_farmers: Collection[str], report: CreditReport
) -> None:
    """Whether a work was SOLO's follows from its nonce: which the chain has, of farmers that SOLO shares were for."""
    if chain is None:
        return
    for each in closing.harvests:
        if each.farmer not in solo_farmers or each.work_transaction_hash is None:
            continue
        past = await chain.read_past(each.work_transaction_hash)
        if past is None:
            report.unproven.append(f"the work of {each.farmer}: the RPC server has forgotten the transaction")
        elif not any((part.wallet, part.nonce) == each.work for part in past[0].parts):
            report.differs.append(
                f"the work of {each.farmer}: transaction {each.work_transaction_hash} was not made with the nonce "
                f"{each.nonce}, as the closing says"
            )


async def _verdict(http: httpx2.AsyncClient, record: LogRecord, entropy: bytes | None) -> LogVerdict:
    if record.sha256 is None:
        verdict = LogVerdict()
        verdict.fault(f"block {record.block_index}: the pool had no whole log any more when it closed the block")
        return verdict
    with tempfile.TemporaryFile() as file:
        await _download(http, record, file)
        file.seek(0)
        # Not line by line: a line may be as long as who sends it likes.
        return check_log(iter(lambda: file.readline(LINE_BYTES), b""), record, entropy)


async def _download(http: httpx2.AsyncClient, record: LogRecord, file: BinaryIO) -> None:
    answer = await _get(http, f"/miner/blocks/{record.block_index}/shares", stream=True)
    most = LINE_BYTES * (record.shares + 1)
    try:
        async for part in answer.aiter_bytes():
            file.write(part)
            if file.tell() > most:  # what follows tells nothing more: its hash is wrong already
                return
    except httpx2.HTTPError as error:
        raise ConfigError(f"{http.base_url} broke off ({type(error).__name__}): try again") from None
    finally:
        await answer.aclose()


async def _get(http: httpx2.AsyncClient, path: str, *, stream: bool = False) -> httpx2.Response:
    for tries_left in reversed(range(TRIES)):
        try:
            answer = await http.send(http.build_request("GET", path), stream=stream)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ConfigError(f"no pool answers at {http.base_url} ({type(error).__name__}): is --url right?") from None
        if answer.is_success:
            return answer
        if stream:
            await answer.aread()
        wait = answer.headers.get("Retry-After", "")
        if not tries_left or answer.status_code not in (429, 503) or not wait.isdecimal():
            raise InputError(f"the pool answers {answer.status_code} to {path}: {_said(answer)}")
        await asyncio.sleep(min(float(wait), PAUSE_SECONDS))
    raise AssertionError(path)


def _said(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


# ----------------------------------------------------------------------------------------------------------------------


async def run(url: str, settings: Settings, index: int) -> CreditReport:
    from kalepool.chain import Chain as OpenChain

    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=60.0))
        network = settings.chain
        theirs = (await _get(http, "/info")).json()["network"]
        if (theirs["passphrase"], theirs["contract_id"]) != (network.passphrase, network.contract_id):
            raise ConfigError(
                f"the pool is on {theirs['name']}, and you are set up for {network.name}: set KALEPOOL_NETWORK, and "
                "KALEPOOL_RPC_URL to a server of that network"
            )
        chain = await stack.enter_async_context(OpenChain.of(settings)) if network.rpc_url is not None else None
        try:
            return await verify(http, chain, index)
        except ChainError as error:
            raise ConfigError(f"the chain cannot be read: {error}") from None


def verify_credits(
    block: Annotated[int, typer.Argument(min=0, max=U32_MAX, help="The block's index.")],
    url: Annotated[
        str | None, typer.Option(envvar="KALEPOOL_API_URL", help="The pool, as http://127.0.0.1:8737.")
    ] = None,
    rpc_url: Annotated[str | None, typer.Option("--rpc-url", help="A Stellar RPC server, of anybody's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Reckon a closed block's credits again from what is public: every share is hashed, every reward looked up.

    The exit status is 0 where all is as the pool posted it, 1 where something differs, 2 where it cannot be told.
    """
    settings = read_settings()
    if rpc_url is not None:
        settings = settings.model_copy(update={"rpc_url": rpc_url})
    report = asyncio.run(run(checked_url(url or settings.api_url), settings, block))
    if as_json:
        show_json(asdict(report))
    else:
        _show(report)
    if report.differs:
        raise typer.Exit(1)


def _show(report: CreditReport) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for heading in ("miner", "shares", "hashes", "earns KALE", "was credited"):
        table.add_column(heading, justify="left" if heading == "miner" else "right", no_wrap=True)
    for name, each in report.miners.items():
        credited = kale(each.credited_stroops, 7)
        table.add_row(plain(name), f"{each.shares:,}", f"{each.hashes:,}", kale(each.earns_stroops, 7), credited)
    show(table)
    for line in report.differs:
        typer.echo(f"DIFFERS: {plain(line)}")
    for line in report.unproven:
        typer.echo(f"not proven: {plain(line)}")
    said = "not as the pool posted it" if report.differs else "as the pool posted it, to the stroop"
    typer.echo(f"Block {report.block_index}: {report.shares:,} shares hashed again; {said}.")
