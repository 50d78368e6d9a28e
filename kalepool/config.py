"""Settings: one row per option, read from the environment (KALEPOOL_…) and `.env`, checked here and nowhere else."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kalepool.errors import ConfigError
from kalepool.networks import NETWORKS, Network
from kalepool.units import plain, unprefixed, without_secrets

ENV_FILE = "KALEPOOL_ENV_FILE"
"""Names another file than `.env` in the working directory, or none if it is empty: so for the children of `up`."""

NOT_OURS = re.compile(
    r"KALEPOOL_(BACKEND|OPENCL_CPU|ENV_FILE|FUZZ_EXAMPLES|(.*_)?SERVICE_(HOST|PORT.*)|(.*_)?PORT_\d+_.*)"
)
"""Names that others read: the kernels, the tests; and those that Kubernetes sets for a service called kalepool."""

OF_ENVIRONMENT = ("KALEPOOL_BACKEND", "KALEPOOL_OPENCL_CPU")
"""What the kernels read, who know of no file."""

Positive = Annotated[float, Field(gt=0)]
KalePrice = Literal["pool"] | Positive
"""XLM for a KALE: a number, or read from the chain's liquidity pool."""


def _require_web_address(value: str) -> str:
    """Raises ValueError for what no HTTP client could reach, an example's "https://…" among it."""
    try:
        parts = urlsplit(value)
        host = (parts.hostname or "").encode("idna").strip(b".")  # "…" is three dots there
        is_one = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:  # it may hold a key, so it is not repeated
        raise ValueError("no web address: write it as https://host or https://host:port/path")
    return value


WebAddress = Annotated[str, AfterValidator(_require_web_address)]


def _require_web_addresses(value: str) -> str:
    """Of several, with commas or blanks between them. Raises ValueError as _require_web_address."""
    found = value.replace(",", " ").split()
    if not found:
        raise ValueError("no web address: write it as https://host or https://host:port/path")
    return ",".join(_require_web_address(each) for each in found)


WebAddresses = Annotated[str, AfterValidator(_require_web_addresses)]


def _require_strkey(value: str, kind: str) -> str:
    from stellar_sdk import StrKey

    is_one = StrKey.is_valid_contract if kind == "C" else StrKey.is_valid_ed25519_public_key
    if not is_one(value):
        raise ValueError(f"not a {kind}… address of 56 characters, of which the last confirm the others")
    return value


ContractId = Annotated[str, AfterValidator(lambda value: _require_strkey(value, "C"))]
AccountId = Annotated[str, AfterValidator(lambda value: _require_strkey(value, "G"))]


def _require_path(value: object) -> object:
    """An empty one would be the working directory."""
    if value == "":
        raise ValueError("empty: write a path, or leave the setting out")
    return value


NamedPath = Annotated[Path, BeforeValidator(_require_path)]


@dataclass(frozen=True, slots=True)
class Heading:
    """Marks the first setting of a group with what stands above it wherever settings are shown."""

    text: str


class WebhookForm(StrEnum):
    """Whose webhook gets the alerts: discord and telegram take bodies of their own form."""

    JSON = "json"
    DISCORD = "discord"
    TELEGRAM = "telegram"


class Settings(BaseSettings):
    """All options of all processes. Environment names are the field names in capitals behind KALEPOOL_.

    The text below a field is what `kalepool settings` and docs/settings.md say of it; a default stands here only.
    """

    model_config = SettingsConfigDict(
        env_prefix="KALEPOOL_",
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    network: Annotated[Literal["devnet", "testnet", "mainnet"], Heading("The chain")] = "devnet"
    """The Stellar network to farm on. `devnet` is an offline one that `kalepool up` starts on this machine."""

    rpc_url: WebAddresses | None = None
    """Address of the Stellar RPC server, or of several of the same network, separated by commas: the first that is well
    is read from, transactions go to all. Mainnet has no public one: choose yours."""

    rpc_requests_per_second: Positive | None = None
    """Requests a second that each RPC server is sent at most, by all of the pool. Without one there is no limit but the
    server's."""

    network_passphrase: Annotated[str, Field(min_length=1)] | None = None
    """The network's passphrase, which every signature covers."""

    contract_id: ContractId | None = None
    """Id of the KALE contract, which is planted, worked and harvested at."""

    contract_wasm: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the KALE contract's code, where it is another than the pool knows: an operator's consent to it."""

    pause_on_new_contract: bool = True
    """Whether nothing is planted while the KALE contract's code is another than the pool knows. Operators are told in
    any case."""

    asset_code: Annotated[str, Field(pattern="^[A-Za-z0-9]{1,12}$")] | None = None
    """Code of the asset that is farmed."""

    asset_issuer: AccountId | None = None
    """Account that issues the asset."""

    asset_contract_id: ContractId | None = None
    """Id of the asset's Stellar asset contract."""

    web_auth_id: ContractId | None = None
    """Id of the web authentication contract (SEP-45), by which contract accounts sign in. Without one they cannot."""

    tractor_id: ContractId | None = None
    """Id of the contract that harvests several pails in one transaction. Without one each pail is harvested alone."""

    friendbot_url: WebAddress | None = None
    """Address that gives new accounts free XLM, on networks for testing."""

    ledger_seconds: Positive | None = None
    """Seconds between two ledgers, until the network's own setting was read and where it has none; and how fast a
    devnet is that `kalepool up` starts."""

    block_seconds: Annotated[int, Field(gt=0)] | None = None
    """Seconds that a KALE block lasts."""

    fee_cap_stroops: Annotated[int, Field(ge=100)] = 10_000_000
    """The most a transaction may bid for inclusion, in stroops of XLM (10,000,000 are 1 XLM)."""

    relayer_url: WebAddress | None = None
    """Address of a relayer that pays for plants, works and harvests: OpenZeppelin's Stellar Channels, as
    https://channels.openzeppelin.com, or a relayer's plugin, as http://relayer:8080/api/v1/plugins/channels/call.
    Without one the pool pays for all of them."""

    relayer_key: SecretStr | None = None
    """API key for the relayer. The API alone uses it."""

    channel_accounts: Annotated[int, Field(ge=1, le=100)] = 20
    """Accounts of the pool that send works and harvests: so many of them can land in one ledger."""

    data_dir: Annotated[NamedPath, Heading("Where things are")] = Path(".kalepool")
    """Folder for all the pool keeps: the embedded database, the devnet's chain, keys, logs."""

    min_free_mb: Annotated[int, Field(ge=0)] = 500
    """Megabytes that are to stay free on the data folder's disk: below, `/health` says so and operators are told."""

    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("KALEPOOL_DATABASE_URL", "DATABASE_URL")
    )
    """Address of a PostgreSQL database of your own, as postgresql://user:password@host/name. Without one `kalepool up`
    starts its embedded server."""

    coordinator_database_url: SecretStr | None = None
    """Address of the same database for the coordinator that `kalepool up` starts, as kalepool_coordinator. Without one
    it gets the API's."""

    migrate_database_url: SecretStr | None = None
    """Address of the same database for who owns its tables: for migrations, and for `kalepool custody`."""

    postgres_bin: NamedPath | None = None
    """Folder of another PostgreSQL's programs, for the embedded server."""

    api_host: str = "127.0.0.1"
    """Address that the API listens on: by default this machine can reach it and no other; 0.0.0.0 opens it to all."""

    api_port: Annotated[int, Field(ge=0, le=65535)] = 8737
    """Port that the API listens on; 0 takes a free one. `kalepool up` takes another where the default is taken."""

    api_url: WebAddress | None = None
    """Address of the API for the coordinator and the commands."""

    public_url: WebAddress | None = None
    """Address of the API as wallets reach it, as https://pool.example. Needed where KALEPOOL_API_HOST opens it to
    others."""

    trusted_proxies: str = ""
    """Addresses or networks of the proxies in front of the API, separated by commas: what they say in X-Forwarded-For
    is believed. By default nobody's is."""

    api_metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port on this machine where the API gives the pool's metrics to Prometheus without a key. Without one they take an
    operator's."""

    api_workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve the API behind its one address on this machine. One of them leads; miners' jobs and shares
    and the page's streams are served by all."""

    api_sibling_host: str = "127.0.0.1"
    """Address of this machine at which other processes of the API reach this one: on several machines that share the
    database, one that the others reach."""

    api_sibling_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port for the same, and with several processes the ports above it; 0 takes free ones."""

    home_domain: str | None = None
    """Domain where wallets look for stellar.toml, as pool.example."""

    api_key: SecretStr | None = None
    """Key for the API, of the coordinator's pooler or of the miner. `kalepool up` makes its own."""

    ray_address: str | None = None
    """Ray cluster to search on: host:port, or `auto` for the one on this machine. Without one the coordinator starts a
    Ray of its own here; `none` starts none, for external miners only."""

    ray_user: str | None = None
    """User of this machine that coordinator, Ray and workers run as where root starts `kalepool up`: who takes over a
    worker then has neither the master key nor the database's files. Without one they run as the API does."""

    ray_cpus: Annotated[int, Field(ge=0)] = 0
    """Cores to ask the Ray cluster's autoscaler for. 0 asks for none: what is there is searched on."""

    ray_gpus: Annotated[int, Field(ge=0)] = 0
    """Graphics cards to ask the Ray cluster's autoscaler for."""

    coordinators: Annotated[int, Field(ge=1, le=9)] = 1
    """How many coordinators are to run for a pooler, anywhere: one leads, the others stand by. `kalepool up` starts so
    many. With more than one, operators are told when one takes over, and when nobody stands by."""

    coordinator_lease_seconds: Annotated[float, Field(ge=1, le=60)] = 4.0
    """Seconds after which another coordinator takes over from one that is silent."""

    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port on this machine where the coordinator serves its metrics to Prometheus; a second one of `kalepool up` has
    the next port. Without one it serves none."""

    landing_probability: Annotated[float, Field(gt=0, lt=1), Heading("When works leave")] = 0.999
    """How surely a farmer's last work is to land before the block is over. A lower one sends it later: more gap, and
    more stakes lost."""

    insurance: bool = True
    """Whether to hand in an early, weak work for a stake that is worth the fee."""

    kale_price_xlm: Annotated[KalePrice | None, Heading("What is worth its fees")] = None
    """What a KALE is worth in XLM: a number, or `pool` for what the KALE/XLM liquidity pool on the chain has now. A
    plant or work that brings less than its fees at this price is left out, by turns. Without one all are planted."""

    kale_price_floor_xlm: Positive = 0.0005
    """The least that `pool` takes a KALE to be worth, in XLM, whatever the liquidity pool has."""

    kale_price_ceiling_xlm: Positive = 0.1
    """The most that `pool` takes a KALE to be worth, in XLM, whatever the liquidity pool has."""

    xlm_per_day: Annotated[float, Field(ge=0)] | None = None
    """XLM that plants, works and harvests may cost in 24 hours. Beyond it nothing more is planted; what is planted is
    worked and harvested. Without one there is no such limit."""

    master_key: Annotated[SecretStr | None, Heading("Custody")] = None
    """The key that seals the farmers' secret keys: 32 bytes in hex. Without it the key is read from a file."""

    master_key_file: NamedPath | None = None
    """File that holds the master key, of mode 0600. It is made where there is none."""

    pooler_farmers: Annotated[int, Field(ge=1), Heading("Limits")] = 100
    """Most farmers of a pooler, set when the pooler is made."""

    plant_batch: Annotated[int, Field(ge=1)] = 50
    """Most plants of a block under way at the same time."""

    harvest_batch: Annotated[int, Field(ge=1)] = 20
    """Most pails of a farmer to harvest in one transaction."""

    parallel_calls: Annotated[int, Field(ge=1)] = 10
    """Most transactions to simulate and sign at the same time."""

    plant_timeout_seconds: Positive = 30.0
    """Seconds within which a plant has to land; also a trustline, a withdrawal or a payment."""

    work_timeout_seconds: Positive = 30.0
    """Seconds within which a work has to land, if the block lasts so long."""

    harvest_timeout_seconds: Positive = 45.0
    """Seconds within which a harvest has to land."""

    min_spare_stroops: Annotated[int, Field(ge=0)] = 10_000_000
    """XLM that a farmer's wallet must hold beyond the network's reserve to be active, in stroops (10,000,000 are
    1 XLM)."""

    sponsored_farmers: Annotated[int, Field(ge=0)] = 0
    """So many farmers need no XLM: the pool's account pays the reserve of their wallets, 1.5 XLM each, and has it back
    when they leave. Who comes beyond that brings its own. With 0 everybody does."""

    farmer_deposit_stroops: Annotated[int, Field(ge=0)] = 100_000_000
    """KALE that a farmer has to bring before the pool pays for anything, in stroops (100,000,000 are 10 KALE). It is
    planted while it has half of it. Farmers that an operator registers need none."""

    self_planting_price_stroops: Annotated[int, Field(ge=0)] = 1_000_000
    """KALE that a harvested pail costs a farmer that plants itself, in stroops, taken off what it has prepaid
    (1,000,000 are 0.1 KALE); an operator may agree on another. With 0 the pool pays for all of them."""

    least_withdrawal_stroops: Annotated[int, Field(ge=1)] = 10_000_000
    """The least that a farmer withdraws at once, in stroops of KALE or XLM (10,000,000 are 1). Who leaves is paid any
    rest."""

    registration_hours: Positive = 24.0
    """Hours after which a registration lapses that nothing came for, unless it was an operator's."""

    waiting_per_address: Annotated[int, Field(ge=1)] = 10
    """Most farmers that registered from one network address and have brought nothing yet."""

    requests_per_minute: Annotated[int, Field(ge=1)] = 60
    """Requests a minute that the API takes from one address or key."""

    pooler_requests_per_minute: Annotated[int, Field(ge=1)] = 6000
    """Requests a minute that the API takes from a pooler's or an operator's key."""

    api_connections: Annotated[int, Field(ge=1)] = 10_000
    """Most connections to the API at the same time."""

    api_connections_per_address: Annotated[int, Field(ge=1)] = 500
    """Most connections to the API from one address at the same time; requests under way, of one behind a trusted
    proxy."""

    platform_fee: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Part of the farmers' rewards that is the pool's fee: 0.05 is 5 %. Fixed for a farmer when it registers; it is
    collected from its wallet into the treasury."""

    fee_collect_stroops: Annotated[int, Field(ge=1)] = 100_000_000
    """KALE from which on a farmer's fee is collected, in stroops (100,000,000 are 10 KALE); less once a day."""

    compensation_limit_stroops: Annotated[int, Field(ge=0)] = 0
    """KALE up to which a stake that was lost by the pool's own fault is paid by itself, with the reward it would have
    brought, in stroops, as far as the operator's part of the treasury reaches. More, and others' faults, take an
    operator's yes: `kalepool compensation pay`."""

    stake_percentage: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The most of its KALE that a farmer stakes in a block, where it says nothing else: 0.1 is 10 %. The coordinator
    stakes the same for all, and less where more brings nothing."""

    stake_most_stroops: Annotated[int, Field(ge=0)] | None = None
    """The most KALE that any farmer stakes in a block, in stroops (100,000,000 are 10 KALE). Without one its part of
    its balance alone is the limit."""

    farmers_per_wallet: Annotated[int, Field(ge=1)] = 10
    """Most farmers that one payout wallet may register by itself."""

    sign_in_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600
    """Seconds that a farmer stays signed in at the API."""

    operator_wallets: str = ""
    """Addresses of the wallets (G…), separated by commas, that sign in as operators at the page."""

    browser_seconds: Annotated[int, Field(ge=300, le=604_800)] = 43_200
    """Seconds that a browser stays signed in at the page."""

    miner_registration: Annotated[Literal["open", "invite"], Heading("External miners")] = "invite"
    """Who may register as a miner: anybody, or who has an invitation."""

    miner_share_seconds: Positive = 5.0
    """Seconds in which a rig should find a share. Sets the difficulty of its shares."""

    miner_shares_per_minute: Annotated[int, Field(ge=1)] = 6000
    """Shares a minute, and requests, that are taken from all rigs of a key together. 200 rigs need some 2,400 of
    each."""

    miner_rigs: Annotated[int, Field(ge=1)] = 1000
    """Most rigs (machines) of a key at the same time. One that is gone gives its place to the next."""

    miner_fee_part: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of the pool's fee that is shared out by hashes: 1 is all of it. External miners are paid theirs; what falls
    to the pool's own workers stays the pool's."""

    solo_fee: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Part of a farmer's reward that the pool takes, in place of the farmer's fee where that is more, when the work was
    found by a rig of the farmer's own (SOLO): the service fee. Nothing of it is shared out. It is fixed for a block
    when that begins."""

    payout_threshold_stroops: Annotated[int, Field(ge=1)] = 100_000_000
    """KALE from which on a miner is paid, in stroops (100,000,000 are 10 KALE), unless it has set more itself."""

    payout_wish_stroops: Annotated[int, Field(ge=1)] = 10_000_000
    """KALE from which on a miner is paid when it asks for it, in stroops."""

    payout_days: Positive = 30.0
    """Days after which a miner is paid what it has earned, however little."""

    claimable_days: Annotated[float, Field(ge=1)] = 90.0
    """Days that a miner has to claim what was put down for it, where its wallet cannot be paid and it wishes so; then
    the treasury takes it back. Each locks 1 XLM of the pool's until it is gone."""

    payout_change_hours: Annotated[float, Field(ge=0)] = 72.0
    """Hours until a miner's new payout wallet counts that the old one did not sign for."""

    pplns_blocks: Annotated[int, Field(ge=1)] = 12
    """Whose hashes count for a block's credits: those of so many blocks, the last of them this one."""

    share_days: Annotated[int, Field(ge=1), Heading("What is kept")] = 7
    """Days that single shares are kept, and with them the share logs of closed blocks. Their totals stay."""

    chart_days: Annotated[int, Field(ge=1)] = 7
    """Days that the points of hashrate charts are kept, and workers that are gone."""

    alert_days: Annotated[int, Field(ge=2)] = 90
    """Days that alerts are kept that are over."""

    envelope_days: Annotated[int, Field(ge=1)] = 7
    """Days that the envelopes of settled plants, works and harvests are kept: the larger part of the database. Hash,
    outcome, ledger and fee stay, and the envelopes of whatever paid somebody."""

    webhook_days: Annotated[int, Field(ge=1)] = 3
    """Days that deliveries to webhooks are kept once they were taken or given up."""

    alert_webhook: Annotated[SecretStr | None, Heading("Alerts")] = None
    """Address to tell operators of trouble at. Without one nobody is told."""

    alert_kind: WebhookForm = WebhookForm.JSON
    """The form of what the webhook is sent. Telegram's address ends in `/sendMessage?chat_id=…`."""

    own_alert_origins: str = "https://api.telegram.org, https://discord.com, https://ntfy.sh"
    """Where farmers and miners may have themselves told of what is theirs, separated by commas: Telegram's, Discord's,
    and servers of ntfy. Nobody is told anywhere else; empty, nobody is told at all."""

    webhook_origins: str = ""
    """Servers of inner networks that webhooks may go to, as http://10.0.0.5:8080, separated by commas. Others have to
    be https addresses on the internet."""

    own_webhooks: Annotated[int, Field(ge=0, le=10)] = 3
    """How many webhooks a farmer or a miner may have, for what is its own; 0 for none."""

    own_webhook_origins: str = ""
    """Servers of inner networks that farmers' and miners' own webhooks may go to: for a pool among friends. Anybody who
    joins has requests sent there. Others have to be https addresses on the internet."""

    otlp_url: Annotated[WebAddress | None, Heading("What is shown")] = None
    """Address of an OpenTelemetry collector (OTLP over HTTP), as http://localhost:4318: spans of blocks, shares and
    payouts go there. It takes the extra `traces`."""

    otlp_share_part: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Part of the requests with shares whose spans are recorded."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least grave events that are logged."""

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment and `.env`. Raises ConfigError naming each wrong option, never a secret's value.

        A name behind KALEPOOL_ that is no option, and a line that is none, are wrong: what was meant would be left out.
        """
        given = {"_env_file": env_file(), **overrides}
        known = [f"KALEPOOL_{name.upper()}" for name in cls.model_fields]
        named = [("", name) for name, value in os.environ.items() if not value.startswith("tcp://")]
        if given["_env_file"]:
            named += names_in(Path(str(given["_env_file"])))
        for place, name in named:
            upper = name.upper()
            if place and upper in OF_ENVIRONMENT:
                raise ConfigError(f"{place}: {name} is read from the environment alone: export it there")
            if upper.startswith("KALEPOOL_") and upper not in known and not NOT_OURS.fullmatch(upper):
                meant = get_close_matches(upper, known, 1)
                raise ConfigError(
                    f"{place and f'{place}: '}unknown setting {name}" + (f": did you mean {meant[0]}?" if meant else "")
                )
        if given["_env_file"]:
            _require_private(
                Path(str(given["_env_file"])), cls._secrets() & {name.upper() for place, name in named if place}
            )
        try:
            return cls(**given)  # pyright: ignore[reportArgumentType]
        except ValidationError as error:
            raise ConfigError(f"wrong settings: {'; '.join(cls._told(error))}") from None

    @classmethod
    def _told(cls, error: ValidationError) -> Iterator[str]:
        """Each wrong setting with its value, unless that may be secret, and all that it may be instead."""
        reasons: dict[str, list[str]] = {}
        values: dict[str, object] = {}
        for each in error.errors():
            field = str(each["loc"][0])
            values[field] = each["input"]
            said = unprefixed(each["msg"]).removeprefix("Input ")
            known = reasons.setdefault(field, [])
            known.append(said.removeprefix("should be ") if known else said)
        for field, said in reasons.items():
            name = f"KALEPOOL_{field.upper()}"
            hidden = name in cls._secrets() or field.endswith("_url")  # an address may hold a key
            shown = "" if hidden else f"={without_secrets(plain(str(values[field])))}"
            yield f"{name}{shown}: {' or '.join(said)}"

    @classmethod
    def _secrets(cls) -> set[str]:
        """Names under which secrets are given."""
        fields = [name for name, info in cls.model_fields.items() if SecretStr in get_args(info.annotation)]
        return {f"KALEPOOL_{name.upper()}" for name in fields} | {"DATABASE_URL"}

    @property
    def own_api_url(self) -> str:
        """Where the API is that these settings start."""
        return self.api_url or local_url(self.api_host, self.api_port)

    def as_environment(self) -> dict[str, str]:
        """What was given, wherever it came from, as a process reads it from its environment. Secrets are among it."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            f"KALEPOOL_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in given.items()
            if value is not None
        }

    @cached_property
    def chain(self) -> Network:
        """The network's ids with this configuration's overrides applied."""
        base = NETWORKS[self.network]
        given = {
            "passphrase": self.network_passphrase,
            "rpc_url": self.rpc_url,
            "contract_id": self.contract_id,
            "contract_wasm": self.contract_wasm,
            "asset_code": self.asset_code,
            "asset_issuer": self.asset_issuer,
            "asset_contract_id": self.asset_contract_id,
            "web_auth_id": self.web_auth_id,
            "tractor_id": self.tractor_id,
            "friendbot_url": self.friendbot_url,
            "ledger_seconds": self.ledger_seconds,
            "block_seconds": self.block_seconds,
        }
        return replace(base, **{name: value for name, value in given.items() if value is not None})


def env_file() -> Path | None:
    """The file that settings are read from besides the environment; it need not be there unless it was named."""
    name = os.environ.get(ENV_FILE, ".env")
    return Path(name).expanduser() if name else None


def _require_private(file: Path, secrets: set[str]) -> None:
    """The master key's own file is held to the same. Raises ConfigError where others may read these secrets."""
    if not secrets or not file.is_file():
        return
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(
            f"{file} holds {', '.join(sorted(secrets))} and is open to others ({mode:o}): chmod 600 {file}"
        )


def names_in(file: Path) -> Iterator[tuple[str, str]]:
    """Each line's place and name. Raises ConfigError where the file or a line cannot be read."""
    if file.is_fifo():
        return  # it can be read but once
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        if os.environ.get(ENV_FILE):
            raise ConfigError(f"there is no {file}, which {ENV_FILE} names") from None
        return
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}, line {line}: not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(f"{file}, line {line}: not a setting: write NAME=value")
        if binding.key is not None:
            yield f"{file}, line {line}", binding.key


def require_public_url(settings: Settings) -> None:
    """Raises ConfigError where the API is open to others and does not know its address: wallets would be sent to this
    machine's inner one."""
    host = settings.api_host
    if not is_local(host) and settings.public_url is None:
        raise ConfigError(
            f"KALEPOOL_API_HOST={host} opens the API to other machines: set KALEPOOL_PUBLIC_URL to the address that "
            "they reach it at, as https://pool.example"
        )


def require_relayer_key(settings: Settings) -> None:
    """Raises ConfigError for a relayer without a key: it takes nothing from strangers."""
    if settings.relayer_url is not None and settings.relayer_key is None:
        raise ConfigError(
            "KALEPOOL_RELAYER_URL needs KALEPOOL_RELAYER_KEY: https://channels.openzeppelin.com/gen makes one"
        )


def is_local(host: str) -> bool:
    """Whether this address is for this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_url(host: str, port: int) -> str:
    """The address of a server of this machine that listens on `host`, any of this machine's if that names all."""
    named = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"
