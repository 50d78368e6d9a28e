"""What this machine can run, found out without importing numba."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast

NVIDIA = 0x10DE  # as PCI numbers makers
Address = tuple[int, int, int]  # of a card on the PCI bus: domain, bus, device


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


@dataclass(frozen=True, slots=True)
class CudaCard:
    """An NVIDIA card; its address if the driver tells."""

    name: str
    address: Address | None


@dataclass(frozen=True, slots=True)
class OpenclCard:
    """A device that a platform (a driver) offers to OpenCL. `device` is pyopencl's."""

    name: str
    platform: str
    vendor: int
    address: Address | None
    device: Any


@functools.cache
def cuda_cards() -> tuple[CudaCard, ...]:
    """The NVIDIA cards that can be used; Numba's simulator counts as one. None without numba-cuda."""
    if importlib.util.find_spec("numba_cuda") is None:
        return ()
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return (CudaCard("simulator", None),)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    cards: list[CudaCard] = []
    for number in range(count.value):
        device, text = ctypes.c_int(), ctypes.create_string_buffer(128)
        if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(text, 128, device):
            return ()
        name = text.value.decode()
        known = not driver.cuDeviceGetPCIBusId(text, 128, device)
        cards.append(CudaCard(name, pci_address(text.value.decode()) if known else None))
    return tuple(cards)


def pci_address(text: str) -> Address | None:
    """The address in a text like 0000:65:00.0."""
    try:
        domain, bus, device = text.partition(".")[0].split(":")
        return int(domain, 16), int(bus, 16), int(device, 16)
    except ValueError:
        return None


@functools.cache
def opencl_cards() -> tuple[OpenclCard, ...]:
    """The cards that OpenCL is to drive: each once, and none that CUDA drives. None without pyopencl."""
    if importlib.util.find_spec("pyopencl") is None:
        return ()
    return tuple(choose_cards(opencl_devices(), cuda_cards()))


def opencl_devices() -> list[OpenclCard]:
    """All that OpenCL's drivers offer.

    With KALEPOOL_OPENCL_CPU=1 processors count as well, which have better backends: for tests, through PoCL.
    """
    cl: Any = importlib.import_module("pyopencl")
    kinds = cl.device_type.GPU | cl.device_type.ACCELERATOR
    if os.environ.get("KALEPOOL_OPENCL_CPU") == "1":
        kinds |= cl.device_type.CPU
    found: list[OpenclCard] = []
    try:
        platforms = cl.get_platforms()
    except cl.Error:  # no driver
        return []
    for platform_ in platforms:
        try:
            devices = platform_.get_devices(kinds)
            found += [_opencl_card(cl, platform_.name, device) for device in devices if device.available]
        except cl.Error:  # a driver without its card
            continue
    return found


def choose_cards(found: Iterable[OpenclCard], cuda: Collection[CudaCard]) -> list[OpenclCard]:
    """Of these devices, in their order, each card once, and none that CUDA drives.

    The same card may be offered by several drivers. Where one does not say at which address it is, a card of a maker
    of whom another driver has shown cards before is taken to be one of them.
    """
    taken = {card.address for card in cuda if card.address}
    drivers: dict[int, str] = {NVIDIA: "CUDA"} if cuda else {}
    unknown = any(card.address is None for card in cuda)
    chosen: list[OpenclCard] = []
    for card in found:
        driver = drivers.setdefault(card.vendor, card.platform)
        if card.address is None or (unknown and driver == "CUDA"):
            if driver != card.platform:
                continue
        elif card.address in taken:
            continue
        else:
            taken.add(card.address)
        chosen.append(card)
    return chosen


def _opencl_card(cl: Any, platform_name: str, device: Any) -> OpenclCard:
    return OpenclCard(device.name.strip(), platform_name, device.vendor_id, _opencl_address(cl, device), device)


def _opencl_address(cl: Any, device: Any) -> Address | None:
    """Where a device is on the PCI bus: NVIDIA's and AMD's drivers tell."""
    try:
        # The slot is the device's number, without a function: an H100 at 0000:00:06.0 says 6.
        return getattr(device, "pci_domain_id_nv", 0), device.pci_bus_id_nv, device.pci_slot_id_nv
    except (cl.Error, AttributeError):
        pass
    try:
        place = device.topology_amd
        return 0, place.bus & 0xFF, place.device & 0xFF
    except (cl.Error, AttributeError):
        return None
