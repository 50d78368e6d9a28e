"""Settings: one row per option, read from the environment (KALEPOOL_…) and `.env`, checked here and nowhere else."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv.parser import parse_stream
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kalepool.errors import ConfigError
from kalepool.networks import NETWORKS, Network

ENV_FILE = "KALEPOOL_ENV_FILE"
"""Names another file than `.env` in the working directory, or none if it is empty: so for the children of `up`."""

NOT_OURS = re.compile(r"KALEPOOL_(BACKEND|ENV_FILE|FUZZ_EXAMPLES|(.*_)?SERVICE_(HOST|PORT.*)|(.*_)?PORT_\d+_.*)")
"""Names that others read: the kernels, the tests; and those that Kubernetes sets for a service called kalepool."""

Positive = Annotated[float, Field(gt=0)]


class WebhookForm(StrEnum):
    """Whose webhook gets the alerts: discord and telegram take bodies of their own form."""

    JSON = "json"
    DISCORD = "discord"
    TELEGRAM = "telegram"


class Settings(BaseSettings):
    """All options of all processes. Environment names are the field names in capitals behind KALEPOOL_."""

    model_config = SettingsConfigDict(
        env_prefix="KALEPOOL_", env_file_encoding="utf-8-sig", extra="ignore", frozen=True, populate_by_name=True
    )

    # The chain
    network: Literal["devnet", "testnet", "mainnet"] = "devnet"
    rpc_url: str | None = None
    network_passphrase: str | None = None
    contract_id: str | None = None
    asset_code: str | None = None
    asset_issuer: str | None = None
    asset_contract_id: str | None = None
    tractor_id: str | None = None
    friendbot_url: str | None = None
    ledger_seconds: Positive | None = None
    block_seconds: Annotated[int, Field(gt=0)] | None = None
    fee_cap_stroops: Annotated[int, Field(ge=100)] = 10_000_000  # the most a transaction may bid for inclusion
    channel_accounts: Annotated[int, Field(ge=1, le=100)] = 20  # work and harvest transactions in flight per ledger

    # Where things are
    data_dir: Path = Path(".kalepool")
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("KALEPOOL_DATABASE_URL", "DATABASE_URL")
    )
    postgres_bin: Path | None = None  # folder of another PostgreSQL's programs, for the embedded server
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8737
    api_url: str | None = None
    public_url: str | None = None  # the API as wallets reach it, as https://pool.example; default api_url
    home_domain: str | None = None  # where wallets look for stellar.toml, as pool.example; default public_url's host
    api_key: SecretStr | None = None  # the coordinator's or miner's key for the API
    ray_address: str | None = None  # None: a local Ray of our own; "none": no Ray, external miners only
    ray_cpus: Annotated[int, Field(ge=0)] = 0  # cores to ask Ray's autoscaler for; 0: search on what is there
    ray_gpus: Annotated[int, Field(ge=0)] = 0  # cards to ask Ray's autoscaler for
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None  # loopback port for Prometheus; None: none

    # When works leave: the policy's numbers that depend on whose money it is (see policy/schedule.py for the others)
    landing_probability: Annotated[float, Field(gt=0, lt=1)] = 0.999  # of a last work; lower: later, and more are lost
    insurance: bool = True  # hand in an early, weak work for a stake that is worth its fee
    work_fee_stroops: Annotated[int, Field(ge=0)] = (
        100_000_000  # what one more work is taken to cost, in stroops of KALE: its XLM fee converted; 10 KALE
    )

    # Custody
    master_key: SecretStr | None = None  # 32 bytes, hex; else master_key_file
    master_key_file: Path | None = None  # mode 0600; default data_dir/master.key

    # Limits
    pooler_farmers: Annotated[int, Field(ge=1)] = 100
    plant_batch: Annotated[int, Field(ge=1)] = 50
    harvest_batch: Annotated[int, Field(ge=1)] = 20
    parallel_calls: Annotated[int, Field(ge=1)] = 10
    plant_timeout_seconds: Positive = 30.0
    work_timeout_seconds: Positive = 30.0
    harvest_timeout_seconds: Positive = 45.0
    min_spare_stroops: Annotated[int, Field(ge=0)] = 10_000_000  # XLM beyond the reserve in a custodial wallet
    requests_per_minute: Annotated[int, Field(ge=1)] = 60
    pooler_requests_per_minute: Annotated[int, Field(ge=1)] = 6000  # of pooler and operator keys
    platform_fee: Annotated[float, Field(ge=0, lt=1)] = 0.05
    stake_percentage: Annotated[float, Field(ge=0, le=1)] = 0.1
    farmers_per_wallet: Annotated[int, Field(ge=1)] = 10  # that one payout wallet may register by itself
    sign_in_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600  # how long a farmer stays signed in

    # External miners
    miner_registration: Literal["open", "invite"] = "invite"  # who may register: anybody, or who has an invitation
    miner_share_seconds: Positive = 5.0  # how often a rig should find a share; sets its difficulty
    miner_shares_per_minute: Annotated[int, Field(ge=1)] = 1200  # of all rigs of a key together
    miner_rigs: Annotated[int, Field(ge=1)] = 100  # machines under one key
    miner_fee_part: Annotated[float, Field(ge=0, le=1)] = 1.0  # of the platform fee, what external miners get
    pplns_blocks: Annotated[int, Field(ge=1)] = (
        12  # whose shares count for a block's credits: those of this many last blocks
    )
    share_days: Annotated[int, Field(ge=1)] = 7  # how long single shares are kept; their totals stay

    # Alerts
    alert_webhook: SecretStr | None = None  # where to tell operators of trouble; None: nowhere
    alert_kind: WebhookForm = WebhookForm.JSON  # the webhook's form

    # What is shown
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment and `.env`. Raises ConfigError naming each wrong option, never a secret's value.

        A name behind KALEPOOL_ that is no option, and a line that is none, are wrong: what was meant would be left out.
        """
        given = {"_env_file": os.environ.get(ENV_FILE, ".env") or None, **overrides}
        known = [f"KALEPOOL_{name.upper()}" for name in cls.model_fields]
        named = [("", name) for name, value in os.environ.items() if not value.startswith("tcp://")]
        if given["_env_file"]:
            named += _names_in(Path(str(given["_env_file"])).expanduser(), must_be=bool(os.environ.get(ENV_FILE)))
        for place, name in named:
            upper = name.upper()
            if upper.startswith("KALEPOOL_") and upper not in known and not NOT_OURS.fullmatch(upper):
                meant = get_close_matches(upper, known, 1)
                raise ConfigError(f"{place}unknown setting {name}" + (f": did you mean {meant[0]}?" if meant else ""))
        try:
            return cls(**given)  # pyright: ignore[reportArgumentType]
        except ValidationError as error:
            wrong = "; ".join(f"KALEPOOL_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"wrong settings: {wrong}") from None

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
            "asset_code": self.asset_code,
            "asset_issuer": self.asset_issuer,
            "asset_contract_id": self.asset_contract_id,
            "tractor_id": self.tractor_id,
            "friendbot_url": self.friendbot_url,
            "ledger_seconds": self.ledger_seconds,
            "block_seconds": self.block_seconds,
        }
        return replace(base, **{name: value for name, value in given.items() if value is not None})


def _names_in(file: Path, *, must_be: bool) -> Iterator[tuple[str, str]]:
    """Each line's place and name. Raises ConfigError where the file or a line cannot be read."""
    if file.is_fifo():
        return  # it can be read but once
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        if must_be:
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
            yield f"{file}, line {line}: ", binding.key


def local_url(host: str, port: int) -> str:
    """The address of a server of this machine that listens on `host`, any of this machine's if that names all."""
    named = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"
