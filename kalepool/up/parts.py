"""What there is to start, and what each child is told. A child learns no more than it needs: it reads no `.env`.

The seconds each has to end, and the last look at the blocks, make less than the ten that Ctrl-C may take.
"""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import SecretStr

from kalepool.cluster.worker import require_backend
from kalepool.config import ENV_FILE, Settings, local_url, require_public_url, require_relayer_key
from kalepool.errors import ConfigError
from kalepool.heartbeat import ADDRESS, NOT_INHERITED
from kalepool.logins import Login
from kalepool.networks import Network
from kalepool.postgres import Postgres
from kalepool.processes import spawn
from kalepool.units import reason_of
from kalepool.up.folder import DataFolder
from kalepool.up.supervisor import MARK, Service

SECRETS = (
    "KALEPOOL_MASTER_KEY",
    "KALEPOOL_MASTER_KEY_FILE",
    "KALEPOOL_API_KEY",
    "KALEPOOL_ALERT_WEBHOOK",
    "KALEPOOL_RELAYER_KEY",
)
DATABASE = (
    "KALEPOOL_DATABASE_URL",
    "DATABASE_URL",
    "KALEPOOL_MIGRATE_DATABASE_URL",
    "KALEPOOL_COORDINATOR_DATABASE_URL",
)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """The database's address for each that goes there: each may do what it needs, where the logins are not the same."""

    migrate: str = field(repr=False)
    api: str = field(repr=False)
    coordinator: str = field(repr=False)

    @classmethod
    def of_own(cls, settings: Settings, url: SecretStr) -> DatabaseUrls:
        """Of a server that somebody else runs, at the configured `url`."""
        given = (settings.migrate_database_url or url, url, settings.coordinator_database_url or url)
        return cls(*(each.get_secret_value() for each in given))

    @classmethod
    def of_embedded(cls, server: Postgres) -> DatabaseUrls:
        own, api, coordinator = Login.MIGRATE, Login.API, Login.COORDINATOR
        return cls(server.url(login=own), server.url(login=api), server.shared_url(coordinator))


@dataclass(frozen=True, slots=True)
class Parts:
    """Makes the children of one run. Everything they share is settled before the first starts."""

    settings: Settings
    folder: DataFolder
    network: Network  # with the URLs of what is started here
    api_port: int
    run_id: str
    ray_user: pwd.struct_passwd | None = None

    @classmethod
    def plan(cls, settings: Settings, folder: DataFolder) -> Parts:
        """Choose ports for what is to be started here. Raises ConfigError when the API's is taken, or open to others
        without an address, or nothing would hash."""
        require_public_url(settings)
        require_relayer_key(settings)
        if settings.ray_address is None:
            require_backend()
        network = settings.chain
        if needs_devnet(settings):
            url = f"http://127.0.0.1:{_free_port('127.0.0.1', 0)}"
            network = replace(network, rpc_url=url, friendbot_url=f"{url}/friendbot")
        elif network.rpc_url is None:
            raise ConfigError(f"no RPC server for {network.name}: set KALEPOOL_RPC_URL")
        user = ray_user(settings, folder)
        return cls(settings, folder, network, _api_port(settings), run_id=secrets.token_hex(8), ray_user=user)

    @property
    def rpc_url(self) -> str:
        return self.network.rpc_url or ""

    @property
    def api_url(self) -> str:
        return local_url(self.settings.api_host, self.api_port)

    def with_another_port(self) -> Parts | None:
        """The same with another port for the API. None where that would not help: its port is free, or was chosen."""
        if _chose_port(self.settings):
            return None
        try:
            _free_port(self.settings.api_host, self.api_port)
        except OSError:
            return replace(self, api_port=_free_port(self.settings.api_host, 0))
        return None

    def postgres(self) -> tuple[Service, DatabaseUrls]:
        """The embedded server, and its database's addresses. The server is started by this call."""
        data, log = self.folder.path / "postgres", self.folder.logs / "postgres.log"
        group = None if self.ray_user is None else self.ray_user.pw_gid

        def start_server() -> Postgres:
            return Postgres.start(data, programs=self.settings.postgres_bin, log_file=log, shared_with=group)

        def start() -> subprocess.Popen[bytes]:
            return start_server().process

        server = start_server()
        if self.ray_user is not None and data.stat().st_uid == self.ray_user.pw_uid:
            server.stop()
            raise ConfigError(
                f"KALEPOOL_RAY_USER: {self.ray_user.pw_name} owns {data}, and could change every balance in it: "
                "name a user that nothing else runs as"
            )
        server.create_pool_database()
        service = Service("postgres", start, log, stop_signal=signal.SIGINT, seconds=1.5)
        service.process = server.process
        return service, DatabaseUrls.of_embedded(server)

    def devnet(self, rivals: int, *options: str) -> Service:
        """`options`: more of the command's."""
        arguments = ["devnet", "--port", self.rpc_url.rpartition(":")[2], "--data", str(self.folder.path / "devnet")]
        arguments += [
            "--ledger-seconds",
            f"{self.network.ledger_seconds:g}",
            "--block-seconds",
            str(self.network.block_seconds),
        ]
        if rivals:
            arguments += ["--rivals", str(rivals)]
        arguments += options
        return self._service("devnet", arguments, {}, without=(*SECRETS, *DATABASE), seconds=1.0)

    def api(self, database_url: str) -> Service:
        told = {
            "KALEPOOL_DATABASE_URL": database_url,
            "KALEPOOL_API_PORT": str(self.api_port),
            "KALEPOOL_MASTER_KEY_FILE": str(self.settings.master_key_file or self.folder.path / "master.key"),
        }
        return self._service("api", ["api"], told, without=("KALEPOOL_API_KEY", *DATABASE), seconds=2.0)

    def coordinators(self) -> list[str]:
        """Their names, as services: one leads, the others stand by."""
        return ["coordinator", *(f"coordinator-{number}" for number in range(2, self.settings.coordinators + 1))]

    def coordinator(
        self, database_url: str, api_key: str, heartbeats: str | None = None, name: str = "coordinator"
    ) -> Service:
        """heartbeats: the address where it is to tell that it works."""
        told = {
            "KALEPOOL_DATABASE_URL": database_url,
            "KALEPOOL_API_URL": self.api_url,
            "KALEPOOL_API_KEY": api_key,
        }
        if self.settings.ray_address:
            told["KALEPOOL_RAY_ADDRESS"] = self.settings.ray_address
        if self.settings.metrics_port:
            told["KALEPOOL_METRICS_PORT"] = str(self.settings.metrics_port + self.coordinators().index(name))
        if heartbeats:
            told[ADDRESS] = heartbeats
        user, without = self.ray_user, (*SECRETS, *DATABASE)
        if user is not None:
            told |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
        return self._service(name, ["coordinate"], told, without=without, seconds=3.5, user=user)

    def _service(
        self,
        name: str,
        arguments: list[str],
        told: dict[str, str],
        *,
        without: tuple[str, ...],
        seconds: float,
        user: pwd.struct_passwd | None = None,
    ) -> Service:
        mark = f"{self.run_id}:{name}"
        # Settings are read whatever their case.
        environment = {key: value for key, value in os.environ.items() if key.upper() not in without}
        environment = {key: value for key, value in environment.items() if key not in NOT_INHERITED}
        environment |= {key: value for key, value in self.settings.as_environment().items() if key not in without}
        environment |= {
            ENV_FILE: "",
            "KALEPOOL_NETWORK": self.network.name,
            "KALEPOOL_RPC_URL": self.rpc_url,
            "KALEPOOL_LEDGER_SECONDS": f"{self.network.ledger_seconds:g}",
            "KALEPOOL_BLOCK_SECONDS": str(self.network.block_seconds),
            "KALEPOOL_DATA_DIR": str(self.folder.path),
            "PYTHONUNBUFFERED": "1",
            MARK: mark,
            **told,
        }
        if self.network.friendbot_url:
            environment["KALEPOOL_FRIENDBOT_URL"] = self.network.friendbot_url
        log = self.folder.logs / f"{name}.log"

        def start() -> subprocess.Popen[bytes]:
            return spawn([sys.executable, "-m", "kalepool", *arguments], environment=environment, log=log, user=user)

        return Service(name, start, log, mark=mark, seconds=seconds)


LOOK_AROUND = "import sys, os, kalepool; sys.exit(0 if os.access(sys.argv[1], os.F_OK) else 3)"


def ray_user(settings: Settings, folder: DataFolder) -> pwd.struct_passwd | None:
    """Whom coordinator, Ray and workers are to run as, where that is not who runs this; who may pass through the data
    folder to the database's socket then. Raises ConfigError."""
    name = settings.ray_user
    if name is None:
        return None
    if os.getuid() != 0:
        raise ConfigError(
            "KALEPOOL_RAY_USER: only root can start processes as another user; an ordinary user starts the parts as "
            "services of their own (deploy/)"
        )
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"KALEPOOL_RAY_USER: there is no user {name!r}: useradd --system --create-home {name}"
        ) from None
    if user.pw_uid == 0:
        raise ConfigError("KALEPOOL_RAY_USER: root is not to be it")
    folder.path.chmod(0o711)
    look = [sys.executable, "-c", LOOK_AROUND, str(folder.logs)]
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    try:
        status = subprocess.run(look, capture_output=True, check=False, **as_user).returncode
    except OSError:
        status = 1
    if status == 3:
        raise ConfigError(
            f"KALEPOOL_RAY_USER: {name} cannot reach {folder.path}: put it where every user may pass, as in /var/lib"
        )
    if status != 0:
        raise ConfigError(
            f"KALEPOOL_RAY_USER: {name} cannot run {sys.executable} with kalepool: install it where every user may "
            "read it, as in /opt/kalepool"
        )
    return user


def shares_user(settings: Settings) -> bool:
    """Whether what runs in Ray runs as the API's user, with something of worth at hand."""
    return settings.network != "devnet" and settings.ray_user is None and settings.ray_address != "none"


def needs_devnet(settings: Settings) -> bool:
    """Whether the network is to be started here."""
    return settings.network == "devnet" and settings.rpc_url is None


def _chose_port(settings: Settings) -> bool:
    return "api_port" in settings.model_fields_set and settings.api_port != 0


def _api_port(settings: Settings) -> int:
    """The configured port; another where nobody chose one and the default is taken."""
    try:
        return _free_port(settings.api_host, settings.api_port)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise ConfigError(
                f"the API cannot listen on {settings.api_host!r} ({error.strerror}): set KALEPOOL_API_HOST to an "
                "address of this machine, or to 0.0.0.0 or :: for all of them"
            ) from None
        if _chose_port(settings):
            raise ConfigError(
                f"the API cannot listen on {settings.api_host}:{settings.api_port} ({reason_of(error)}): "
                "set KALEPOOL_API_PORT to another port"
            ) from None
        return _free_port(settings.api_host, 0)


def _free_port(host: str, port: int) -> int:
    """`port`, or for 0 any, that is free at every address of `host`. Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, (name, _, *rest) in found:
        # SO_REUSEADDR is set: a port just left is free.
        with socket.create_server((name, port, *rest), family=family) as listener:  # pyright: ignore[reportArgumentType]
            port = listener.getsockname()[1]
    return port
