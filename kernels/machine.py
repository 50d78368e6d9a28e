"""What this machine can run, found out without importing numba."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
from typing import cast


@functools.cache
def cpu_features() -> frozenset[str]:
    """The vector extensions that processor and operating system offer, by LLVM's names."""
    from llvmlite import binding  # pyright: ignore[reportMissingTypeStubs]

    features = cast(dict[str, bool], binding.get_host_cpu_features())
    names = {name for name, has in features.items() if has}
    if binding.get_host_cpu_name().startswith("apple-m"):  # for these LLVM goes by the name alone
        names |= {"neon", "sha3"}
    return frozenset(names)


@functools.cache
def cpu_backends() -> tuple[str, ...]:
    """The vector backends of this processor, fastest first."""
    architecture = platform.machine().lower()
    if architecture in ("aarch64", "arm64"):
        return ("neon",)
    if architecture not in ("x86_64", "amd64"):
        return ()
    features = cpu_features()
    names = ["sse2"]
    if "avx2" in features:
        names.insert(0, "avx2")
    if {"avx512f", "avx512bw", "avx512vl"} <= features:
        names.insert(0, "avx512")
    return tuple(names)


@functools.cache
def cuda_cards() -> tuple[str, ...]:
    """The names of the NVIDIA cards that can be used; Numba's simulator counts as one. None without numba-cuda."""
    if importlib.util.find_spec("numba_cuda") is None:
        return ()
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return ("simulator",)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    names: list[str] = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
        if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(name, 128, device):
            return ()
        names.append(name.value.decode())
    return tuple(names)
