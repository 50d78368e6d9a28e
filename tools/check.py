"""What `make check` runs: formatting, lint, types, import direction, names, and what must never be committed.

All steps at once; a line for each with its time, and the output of those that failed. Exit status 1 when any did.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from names import clashes

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

LOCKS = re.compile(r"(.*\.lock|.*lock\.(json|toml|yaml))$")
# Folders of one person's machine. A path of a system every Linux has is fine.
MACHINE_PATHS = re.compile(r"(?<![\w.])(/home/(?!user\b)\w+|/root/\w+|/Users/\w+)\b")


def tool(*arguments: str) -> Callable[[], str]:
    """A step that runs a program of the environment; what it prints is the complaint when it fails."""

    def run() -> str:
        program, *rest = arguments
        done = subprocess.run([str(BIN / program), *rest], cwd=ROOT, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"

    return run


def committed_files() -> list[Path]:
    """What git tracks; in a copy without git, everything that is not made by a tool."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    ignored = {".venv", "node_modules", "__pycache__", ".kalepool", ".git"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not ignored & set(path.parts)]


def search(pattern: re.Pattern[str], files: list[Path]) -> str:
    """Lines that match, as path:line: text."""
    found: list[str] = []
    for path in files:
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return "\n".join(found)


def lock_files() -> str:
    """A lock file with an address in it installs from one machine's package index and nowhere else."""
    return search(re.compile("https?://"), [path for path in committed_files() if LOCKS.match(path.name)])


def machine_paths() -> str:
    return search(MACHINE_PATHS, [path for path in committed_files() if path != Path(__file__)])


STEPS: dict[str, Callable[[], str]] = {
    "format": tool("ruff", "format", "--check", "."),
    "lint": tool("ruff", "check", "."),
    "types": tool("basedpyright"),
    "imports": tool("lint-imports"),
    "names": lambda: clashes(ROOT),
    "lock files": lock_files,
    "paths": machine_paths,
    "settings": tool("python", "-m", "tools.settings_page", "--check"),
}


def main() -> int:
    def timed(step: Callable[[], str]) -> tuple[str, float]:
        started = time.monotonic()
        return step(), time.monotonic() - started

    failed = 0
    with ThreadPoolExecutor() as pool:
        for name, result in [(name, pool.submit(timed, step)) for name, step in STEPS.items()]:
            complaint, seconds = result.result()
            print(f"{'FAILED' if complaint else 'ok':<7}{name:<11}{seconds:5.1f} s", flush=True)
            if complaint:
                failed += 1
                print(complaint, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
