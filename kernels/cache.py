"""Where compiled kernels are kept between processes.

Numba's own cache looks at the one file a function stands in, and lets all processors share one index. Here a kernel's
file is named by a hash of everything it depends on: our sources, the compilers' versions, the processor with its
features, and the backend. So it can be neither stale nor another machine's. It appears whole, so processes may race to
write it, and a damaged one is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import tempfile
from pathlib import Path
from typing import Any

import llvmlite  # pyright: ignore[reportMissingTypeStubs]
import numba
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps  # pyright: ignore[reportUnknownVariableType]


def folder() -> Path:
    """NUMBA_CACHE_DIR, else the user's cache folder."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen) / "kalepool"
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "kalepool"
    if platform.system() == "Windows" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "kalepool"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kalepool"


# The text of this package, which all kernels are made from, as it was when it was imported.
_SOURCES = b"\0".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


class KernelCache:
    """The one compiled kernel of a backend, in the form Numba's dispatcher asks for a cache."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.hits = 0

    def load_overload(self, signature: Any, context: Any) -> CompileResult | None:
        """The kernel, ready to run, or None if it has to be compiled."""
        try:
            data = self.path(signature, context).read_bytes()
        except (OSError, RuntimeError):  # RuntimeError: no home folder
            return None
        checksum, data = data[:32], data[32:]
        if hashlib.sha256(data).digest() != checksum:
            return None
        parts = pickle.loads(data)  # noqa: S301 - from the user's own folder, written below
        result = CompileResult._rebuild(context, *parts)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        self.hits += 1
        return result

    def save_overload(self, signature: Any, result: CompileResult) -> None:
        """Keep a kernel; where no folder can be written, every process compiles for itself."""
        data = dumps(result._reduce())  # pyright: ignore[reportPrivateUsage]
        with contextlib.suppress(OSError, RuntimeError):
            path = self.path(signature, result.target_context)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(hashlib.sha256(data).digest() + data)
            Path(file.name).replace(path)

    def path(self, signature: Any, context: Any) -> Path:
        """The file of this kernel for this machine."""
        made_of = (
            platform.python_version(),
            numba.__version__,
            llvmlite.__version__,
            context.codegen().magic_tuple(),  # target, processor and its features
            vars(config)["OPT"],  # numba sets it when it is imported
            self.backend,
            str(signature),
        )
        name = hashlib.sha256(_SOURCES + repr(made_of).encode()).hexdigest()
        return folder() / f"{self.backend}-{name[:32]}.kernel"
