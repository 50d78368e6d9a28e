"""OpenCL without a card: PoCL, which runs it on the processor. `offer()` makes it a card of this process."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from kernels import driver, machine, opencl

_KEPT: list[ctypes.Array[ctypes.c_char]] = []  # PoCL points at them


def offer() -> None:
    """From now on PoCL is the card `opencl:0` here."""
    os.environ["KALEPOOL_OPENCL_CPU"] = "1"
    for cached in (machine.opencl_cards, driver._load, opencl.load):
        cached.cache_clear()
    for card in machine.opencl_cards():
        _name_the_processor(card.device)


def withdraw() -> None:
    """As if it had never been there."""
    os.environ.pop("KALEPOOL_OPENCL_CPU", None)
    for cached in (machine.opencl_cards, driver._load, opencl.load):
        cached.cache_clear()


def _name_the_processor(device: Any) -> None:
    """Processors younger than the LLVM in PoCL's wheel are "generic" to it, and a name that its compiler refuses
    (pocl issue 1049): so put a name that it knows in that one's place."""
    words = (ctypes.c_size_t * 256)()
    size = _read(device.int_ptr, words)
    for place in range(size // ctypes.sizeof(ctypes.c_size_t)):
        text = ctypes.create_string_buffer(8)
        if words[place] > 4096 and _read(words[place], text) == 8 and text.raw == b"generic\0":
            name = {"avx512": b"skylake-avx512", "avx2": b"haswell"}.get(machine.cpu_backends()[0], b"x86-64")
            _KEPT.append(ctypes.create_string_buffer(name))
            address = device.int_ptr + place * ctypes.sizeof(ctypes.c_size_t)
            ctypes.c_size_t.from_address(address).value = ctypes.addressof(_KEPT[-1])


class _Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def _read(address: int, target: Any) -> int:
    """Copy memory of this process to `target`; how much of it there was. An address that is none gives −1."""
    here = _Piece(ctypes.addressof(target), ctypes.sizeof(target))
    there = _Piece(address, ctypes.sizeof(target))
    read = ctypes.CDLL(None).process_vm_readv
    read.restype = ctypes.c_ssize_t
    return read(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
