"""One call for every backend: cuts a range into slices, gives them to threads, and puts the best together.

A backend only knows how to scan up to 2^32 nonces that share their high word. Everything else is here: ranges of any
length, slices short enough to stop between them, threads, ties, and digests with more zeros than a scan can see.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Sequence

from kernels import keccak, machine
from kernels.model import (
    Backend,
    Best,
    KernelError,
    Progress,
    Scan,
    SearchStoppedError,
    SlicePace,
    Stop,
    Template,
    check_int,
)

WINDOW = 2**32  # nonces with one high word; a scan's range lies inside one


def backends() -> tuple[str, ...]:
    """The backends this machine can run, those of cards first; `search` takes the first one by default."""
    return (
        ("cuda",) * bool(machine.cuda_cards())
        + ("opencl",) * bool(machine.opencl_cards())
        + machine.cpu_backends()
        + ("portable", "python")
    )


def devices() -> dict[str, str]:
    """The names of this machine's cards, by the backend that is this card alone: `cuda:0`, `opencl:0`, …"""
    found = {"cuda": machine.cuda_cards(), "opencl": machine.opencl_cards()}
    return {f"{kind}:{number}": card.name for kind, cards in found.items() for number, card in enumerate(cards)}


def is_of_cards(backend: str) -> bool:
    """Whether a backend's name, with a card's number or without, stands for cards."""
    return backend.partition(":")[0] in ("cuda", "opencl")


def search(
    template: Template,
    start: int,
    count: int,
    above_zeros: int = -1,
    *,
    backend: str | None = None,
    threads: int = 1,
    stop: Stop | None = None,
) -> Best | None:
    """The best nonce of `count` nonces from `start` with more than `above_zeros` leading zero hex digits, or None.

    Args:
        start, count: any range inside the 64-bit nonces; it may be empty.
        above_zeros: −1 to 64; by default any nonce counts.
        backend: one of `backends()`; by default what KALEPOOL_BACKEND says, else the first of them that works.
        threads: how many threads hash (CPU backends; those of cards have one for each card).
        stop: looked at every few milliseconds, so that another thread can end the search.
    Raises:
        TypeError, ValueError: an argument does not fit; nothing has run.
        KernelError: no such backend here.
        SearchStoppedError: stopped before the end; its `progress` has what was found until then.
    """
    best, tried = _search(template, start, count, above_zeros, backend, threads, stop)
    if tried < count:
        raise SearchStoppedError(Progress(best, tried), count)
    return best


def search_until(
    template: Template,
    start: int,
    count: int,
    above_zeros: int = -1,
    *,
    backend: str | None = None,
    threads: int = 1,
    stop: Stop | None = None,
) -> Progress:
    """As `search`, for callers that expect to stop it: the best of the nonces tried, and how many these were."""
    return Progress(*_search(template, start, count, above_zeros, backend, threads, stop))


def find(
    template: Template,
    start: int,
    count: int,
    below: int,
    *,
    backend: str | None = None,
    threads: int = 1,
    stop: Stop | None = None,
) -> int | None:
    """The lowest nonce of the range whose digest's first 8 bytes, as a big-endian int, are less than `below`; or None.

    `below` is from 1 to 2^64; one hash in 2^64 / below is a hit. Other arguments and errors as `search`.
    """
    _check(template, start, count, threads)
    check_int("below", below, 1, 2**64)
    run = _Run(template, start, count, -1, below - 1, stop)
    run.drive(load_backend(backend), threads)
    if run.best is None and run.tried < count:
        raise SearchStoppedError(Progress(None, run.tried), count)
    return run.best.nonce if run.best else None


def load_backend(name: str | None = None) -> Backend:
    """The backend of that name (default: as `search`), compiled or loaded once in a process."""
    return _load(name or os.environ.get("KALEPOOL_BACKEND") or None)


@functools.cache
def _load(name: str | None) -> Backend:
    if name is None:
        return _first_that_works()
    if name == "python":
        return _PythonBackend()
    kind = name.partition(":")[0] if is_of_cards(name) else name
    if kind not in backends():
        raise KernelError(f"backend {name!r} does not exist on this machine: it has {', '.join(backends())}")
    cards = _cards_of(name, kind)
    if kind == "cuda":
        from kernels import cuda

        return cuda.load(cards)
    if kind == "opencl":
        from kernels import opencl

        return opencl.load(cards)
    from kernels import cpu

    return cpu.load(name)


def _first_that_works() -> Backend:
    """Cards may have drivers that do not work; the processor goes on without them."""
    for name in backends():
        if not is_of_cards(name):
            return _load(name)
        with contextlib.suppress(KernelError):
            return _load(name)
    raise KernelError("this machine has no backend")


def _cards_of(name: str, kind: str) -> tuple[int, ...]:
    """The numbers of the cards that a backend's name means. Raises KernelError where there is no such card."""
    cards = tuple(range(sum(device.startswith(f"{kind}:") for device in devices())))
    _, colon, number = name.partition(":")
    if not colon:
        return cards
    if not number.isdecimal() or int(number) not in cards:
        raise KernelError(f"backend {name!r}: this machine has the {kind} cards 0 to {len(cards) - 1}")
    return (int(number),)


def _search(
    template: Template,
    start: int,
    count: int,
    above_zeros: int,
    backend: str | None,
    threads: int,
    stop: Stop | None,
) -> tuple[Best | None, int]:
    """The best nonce and how many were tried."""
    # A short call takes some ten microseconds: what is tested here at once is looked into only when it fails.
    if not (
        type(template) is Template
        and type(start) is type(count) is type(threads) is type(above_zeros) is int
        and start >= 0 <= count
        and start + count <= 2**64 > count
        and 1 <= threads <= 4096
        and -1 <= above_zeros <= 64
    ):
        _check(template, start, count, threads)
        check_int("above_zeros", above_zeros, -1, 64)
    chosen = _load(backend) if backend else load_backend()
    is_one_slice = count <= chosen.paces[0].nonces and start >> 32 == start + count - 1 >> 32
    if is_one_slice and threads == 1 and count and not (stop and stop.is_set()):
        # A short call is not to wait for what threads would share.
        return _best_of_slice(chosen.scans(template, 1)[0], template, start, count, above_zeros), count
    run = _Run(template, start, count, above_zeros, None, stop)
    run.drive(chosen, threads)
    return run.best, run.tried


def _check(template: Template, start: int, count: int, threads: int) -> None:
    if type(template) is not Template:
        raise TypeError(f"template must be a Template, not {type(template).__name__}")
    check_int("start", start, 0, 2**64 - 1)
    check_int("count", count, 0, 2**64 - 1)
    check_int("threads", threads, 1, 4096)
    if start + count > 2**64:
        raise ValueError(f"start {start} + count {count} goes past the last nonce, {2**64 - 1}")


def limit_above(zeros: int) -> int:
    """The largest 64-bit prefix of a digest with more than `zeros` zero digits, as far as a prefix can tell."""
    return _LIMITS[zeros + 1]


_LIMITS = [2 ** max(64 - 4 * zeros, 0) - 1 for zeros in range(66)]


def _best_of_slice(scan: Scan, template: Template, start: int, count: int, above_zeros: int) -> Best | None:
    """The best nonce of a range that lies in one window."""
    hit = scan(start, count, _LIMITS[above_zeros + 1], False)
    if hit is None:
        return None
    if hit[1]:
        return Best(16 - (hit[1].bit_length() + 3) // 4, hit[0])
    found = None
    while hit:  # 16 zeros or more: the prefix alone no longer tells, so look at each of them
        nonce = hit[0]
        digest = keccak.hash_nonce(template.index, nonce, template.entropy, template.farmer)
        zeros = keccak.leading_zeros(digest)
        if zeros > above_zeros:
            above_zeros, found = zeros, Best(zeros, nonce)
        rest = start + count - nonce - 1
        hit = scan(nonce + 1, rest, 0, True) if rest else None
    return found


class _Run:
    """One search, or one find if `limit` is given, shared by its threads."""

    def __init__(
        self, template: Template, start: int, count: int, above_zeros: int, limit: int | None, stop: Stop | None
    ) -> None:
        self.template = template
        self.position = start  # the next nonce nobody has taken
        self.end = start + count
        self.above_zeros = above_zeros
        self.limit = limit
        self.stop = stop
        self.best: Best | None = None
        self.tried = 0
        self.lock = threading.Lock()

    def drive(self, backend: Backend, threads: int) -> None:
        if self.position == self.end:
            return
        scans = backend.scans(self.template, threads)
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                self.work(scans[number], backend.paces[number % len(backend.paces)])
            except BaseException as error:  # handed to the caller's thread below
                errors.append(error)
                self.end = self.position

        helpers = [
            threading.Thread(target=work, args=(number,), name="kernel", daemon=True) for number in range(1, len(scans))
        ]
        for helper in helpers:
            helper.start()
        work(0)
        for helper in helpers:
            helper.join()
        if errors:
            raise errors[0]

    def work(self, scan: Scan, pace: SlicePace) -> None:
        """Take slices in order until none is left; so what was tried is always one piece from the start on."""
        size = pace.nonces
        while taken := self.take(size):
            start, count, best = taken
            began = time.perf_counter()
            found = self.best_of_slice(scan, start, count, best)
            seconds = time.perf_counter() - began
            if count == size:  # a full slice, so its time tells
                size = pace.adapt(size, seconds)
            with self.lock:
                self.tried += count
                if found and (not self.best or (-found.zeros, found.nonce) < (-self.best.zeros, self.best.nonce)):
                    self.best = found

    def take(self, size: int) -> tuple[int, int, Best | None] | None:
        with self.lock:
            start = self.position
            if start >= self.end or (self.stop and self.stop.is_set()) or (self.best and self.limit is not None):
                return None
            self.position = min(start + size, self.end, start - start % WINDOW + WINDOW)
            return start, self.position - start, self.best

    def best_of_slice(self, scan: Scan, start: int, count: int, best: Best | None) -> Best | None:
        if self.limit is not None:
            hit = scan(start, count, self.limit, True)
            return Best(0, hit[0]) if hit else None
        above = self.above_zeros
        if best:  # of an earlier slice in time, which may lie further on in the range: then it loses ties
            above = best.zeros if best.nonce < start else best.zeros - 1
        return _best_of_slice(scan, self.template, start, count, above)


class _PythonBackend:
    """The readable hash, one nonce after the other."""

    paces = (SlicePace(0.008, 32, 1),)

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        def scan(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
            best = None
            for nonce in range(start, start + count):
                digest = keccak.hash_nonce(template.index, nonce, template.entropy, template.farmer)
                prefix = int.from_bytes(digest[:8], "big")
                if prefix <= limit:
                    if lowest or not prefix:
                        return nonce, prefix
                    best = nonce, prefix
                    limit = limit_above(keccak.leading_zeros(digest))
            return best

        return [scan] * threads
