"""The product as its users have it: the built wheel in an environment of its own, and its program on a data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
OURS = ("KALEPOOL_", "DATABASE_", "PYTHON", "RAY_", "VIRTUAL_ENV")  # in the environment of who runs the tests
MARK = "TESTED"
ONE_CORE = '{"CPU": 1}'  # for the search of each pool: those of several tests run side by side


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with nothing but the wheel and what it needs, in the versions of the lock file."""

    folder: Path
    name: str = "kalepool"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def program(self) -> Path:
        return self.folder / "bin" / self.name

    @classmethod
    def install(cls, folder: Path, project: Path = ROOT, name: str = "kalepool") -> Installed:
        """Build the wheel and install it: seconds, for uv has seen all the rest when it made the developer's own."""
        wheel = build_wheel(project, folder.with_name("wheel"))
        _run(str(TOOLS / "uv"), "venv", "--quiet", "--python", sys.executable, str(folder))
        made = cls(folder, name)
        # Compiled at once: every test starts several processes, and where Python may not write, each would compile all.
        command = [str(TOOLS / "uv"), "pip", "install", "--quiet", "--compile-bytecode", "--python", str(made.python)]
        command += ["--constraints", str(ROOT / "requirements.lock"), str(wheel)]
        try:
            _run(*command, "--offline")
        except AssertionError:  # uv's cache was emptied since
            _run(*command)
        return made


def build_wheel(project: Path, folder: Path) -> Path:
    """The wheel of a project's folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    _run(*command, folder=project)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _run(*command: str, folder: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@dataclass(frozen=True, slots=True)
class Home:
    """A user's data folder. Commands on it run in the folder above, with nothing of ours in their environment."""

    installed: Installed
    data: Path

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, installed: Installed) -> Iterator[Home]:
        """Whatever a failed test leaves running on it is killed."""
        home = cls(installed, folder / "data")
        yield home
        for pid in home.left():
            os.kill(pid, signal.SIGKILL)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        ours = {"KALEPOOL_API_PORT": "0", "KALEPOOL_DATA_DIR": str(self.data), MARK: str(self.data)}
        return {**kept, **ours, "RAY_OVERRIDE_RESOURCES": ONE_CORE, **more}

    def start(self, *arguments: str, variables: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[Any]:
        """`kalepool` with these arguments and environment variables; the options are Popen's."""
        command = [str(self.installed.program), *arguments]
        return subprocess.Popen(command, env=self.environment(**variables or {}), cwd=self.data.parent, **options)

    def kalepool(self, *arguments: str, answer: str = "", status: int = 0) -> str:
        """What a command prints, which ends with this exit status."""
        pipe = subprocess.PIPE
        process = self.start(*arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        try:
            output, errors = process.communicate(answer, timeout=120)
        finally:
            process.kill()
        assert process.returncode == status, errors
        return output

    def left(self) -> list[int]:
        """Everything that was started on this folder, however far from it: its environment went along."""
        return list(self.titles())

    def titles(self) -> dict[int, str]:
        """The same processes with their command lines. The API lets nobody but root look into it: it is told by its
        parent, and missing once that has gone."""
        ours: set[int] = set()
        closed: dict[int, int] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            parent = "0"
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z" and f"{MARK}={self.data}\0".encode() in (entry / "environ").read_bytes():
                    ours.add(int(entry.name))
            except PermissionError:
                closed[int(entry.name)] = int(parent)
            except OSError:
                continue
        ours |= {pid for pid, parent in closed.items() if parent in ours}
        found = {}
        for pid in ours:
            with suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
        return found
