"""The data folder: one `kalepool up` at a time, and a note of where the running one is to be found."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from kalepool.errors import ConfigError
from kalepool.units import reason_of


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running `kalepool up` is to be found. For its user alone: an RPC server's address may hold a key."""

    pid: int
    network: str
    rpc_url: str
    friendbot_url: str | None
    api_url: str
    ledger_seconds: float
    block_seconds: int


class DataFolder:
    """Holds the folder for one process. A context manager; the lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._lock: IO[str] | None = None

    def __enter__(self) -> DataFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            # Nobody else has business in it. Root's PostgreSQL runs as another user, who may pass through.
            _close(self.path, 0o711 if os.getuid() == 0 else 0o700)
            _close(self.logs, 0o700)
            lock = (self.path / "up.lock").open("a+")
        except OSError as error:
            raise ConfigError(
                f"the data folder {self.path} cannot be used ({reason_of(error)}): choose another --data-dir"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise ConfigError(
                f"{self.path} is in use by another kalepool (process {holder}): stop it, or choose another --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock
        return self

    def __exit__(self, *_: object) -> None:
        (self.path / "up.json").unlink(missing_ok=True)
        if self._lock:
            self._lock.close()

    def require_network(self, network: str) -> None:
        """One folder holds one network's history. Raises ConfigError when it holds another's."""
        note = self.path / "network"
        text = note.read_text() if note.exists() else ""
        known = text.strip()
        if not text.endswith("\n") and network.startswith(known):
            return  # there is none, or it was cut off, as earlier versions could have it: it is written again
        if known != network:
            raise ConfigError(
                f"{self.path} holds the pool's history on {known}: choose another --data-dir for {network}"
            )

    def claim_network(self, network: str) -> None:
        """From here on the folder holds this network's history. Raises ConfigError when it holds another's, or there is
        no room to say so."""
        self.require_network(network)
        note = self.path / "network"
        if note.exists() and note.read_text().endswith("\n"):
            return
        whole = note.with_name("network.new")  # half a note would lock the folder for ever
        try:
            with whole.open("w") as file:
                file.write(network + "\n")
                file.flush()
                os.fsync(file.fileno())
            whole.replace(note)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written to: {error.strerror}") from None

    def publish(self, running: Running) -> None:
        """Let other commands find us. Whoever looks finds all of the note or none."""
        note = self.path / "up.json"
        whole = note.with_name("up.json.new")
        whole.unlink(missing_ok=True)  # another's file keeps its mode
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(asdict(running), indent=1) + "\n")
        whole.replace(note)


def _close(folder: Path, mode: int) -> None:
    """Takes from a folder of ours what `mode` does not give."""
    status = folder.stat()
    if status.st_uid == os.getuid() and status.st_mode & 0o777 & ~mode:
        folder.chmod(status.st_mode & 0o777 & mode)


def find_running(path: Path) -> Running | None:
    """The `kalepool up` that runs on this data folder, if any does."""
    try:
        found = Running(**json.loads((path / "up.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it is another user's
    return found
