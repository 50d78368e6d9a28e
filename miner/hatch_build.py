"""Puts what the miner is made of into its package: files of the repository, or of a source package."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Parts(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        here = Path(self.root)
        root = here if (here / "kernels").is_dir() else here.parent
        for part in runpy.run_path(str(root / "kalepool/mine/contents.py"))["PARTS"]:
            path = root / part
            for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
                build_data["force_include"][str(file)] = file.relative_to(root).as_posix()
