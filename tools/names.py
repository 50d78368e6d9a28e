"""The step "names" of `make check`: one word, one thing.

Who looks for a class or a file by its name finds one. So no two public classes of kalepool and kernels have one name,
and no two modules of sibling folders do.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

FREE = {"__init__", "__main__"}
"""Modules whose name Python prescribes."""

BY_COMMAND = Path("kalepool/commands")
"""A file there bears its command's name, which is that of the thing it starts: `kalepool custody`, `kalepool mine`."""


def python_files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for name in ("kalepool", "kernels") for path in (root / name).rglob("*.py"))


def classes(root: Path, files: Iterable[Path]) -> dict[str, list[Path]]:
    """Where each public class stands."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        for node in ast.parse((root / path).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path)
    return found


def modules(files: Iterable[Path]) -> dict[tuple[Path, str], list[Path]]:
    """The modules of each name in the folders of each parent."""
    found: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in files:
        if path.stem not in FREE and path.parent != BY_COMMAND:
            found[path.parent.parent, path.stem].append(path)
    return found


def clashes(root: Path) -> str:
    """A line for each name that stands for two things."""
    files = python_files(root)
    named = [("class", name, paths) for name, paths in classes(root, files).items()]
    named += [("module", name, paths) for (_, name), paths in modules(files).items()]
    return "\n".join(f"{kind} {name}: {', '.join(map(str, paths))}" for kind, name, paths in named if len(paths) > 1)
