"""The search on any card with an OpenCL driver: the program of card_text.py, built by that driver.

Cards differ in what they like: words of 64 bits or of 32, and whether theta adds two words at once. So each card
builds every form, and keeps the one that was fastest in a trial of some milliseconds.
"""

from __future__ import annotations

import functools
import importlib
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import card_text, keccak, machine
from kernels.model import KernelError, Scan, SlicePace, Template

cl: Any = importlib.import_module("pyopencl")

GROUP = 128  # work items of a group, where a card takes so many
SLICE_SECONDS = 0.025  # a launch; a display that the card serves waits for it
TRIAL_SECONDS = 0.004  # a trial of a form; the next one tried may take four times as long
WORD_MASK = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Form:
    """One of the forms of the program: lanes cut into `parts` words; see `card_text.opencl_c`."""

    parts: int
    ternary: bool
    rounds_a_turn: int = 2


FORMS = (Form(2, True), Form(1, True), Form(2, False), Form(1, False))


@functools.cache
def load(cards: tuple[int, ...]) -> OpenclBackend:
    """The cards of these numbers. One that does not work is left out; raises KernelError if none is left."""
    found = machine.opencl_cards()
    working: list[Card] = []
    errors: list[str] = []
    for number in cards:
        try:
            working.append(fastest(found[number].device))
        except (KernelError, cl.Error) as error:
            errors.append(f"{found[number].name}: {error}")
    if not working:
        raise KernelError(f"OpenCL does not work here: {'; '.join(errors)}")
    return OpenclBackend(working)


def fastest(device: Any) -> Card:
    """The device with the form that suits it. Raises KernelError, or OpenCL's own error, if none works."""
    best: tuple[float, Card] | None = None
    failure: Exception | None = None
    for form in FORMS:
        try:
            card = Card(device, form)
            rate = card.trial()
        except (KernelError, cl.Error) as error:
            failure = error
            continue
        if best is None or rate > best[0]:
            best = rate, card
    if best is None:
        raise failure or KernelError("no form of the program was tried")
    return best[1]


class OpenclBackend:
    """The cards that search together, each driven by a host thread of its own."""

    def __init__(self, cards: Sequence[Card]) -> None:
        self.cards = cards
        self.paces = [card.pace for card in cards]

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        return [card.scan(template) for card in self.cards]


class Card:
    """A device with one form of the program."""

    def __init__(self, device: Any, form: Form) -> None:
        self.name, self.form = device.name.strip(), form
        self.context = cl.Context([device])
        self.queue = cl.CommandQueue(self.context)
        text = card_text.opencl_c(form.parts, ternary=form.ternary, rounds_a_turn=form.rounds_a_turn)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cl.CompilerWarning)  # whatever a compiler says that did its work
            program = cl.Program(self.context, text).build(cache_dir=False)  # drivers have caches of their own
        self.kernel = cl.Kernel(program, "search")
        most = self.kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, device)
        self.group = min(GROUP, most)
        self.results = np.empty(card_text.RESULTS, np.uint32)
        self.nothing = np.full(card_text.RESULTS, card_text.NOTHING, np.uint32)
        flags = cl.mem_flags
        self.result_buffer = cl.Buffer(self.context, flags.READ_WRITE, self.results.nbytes)
        self.lane_buffer = cl.Buffer(self.context, flags.READ_ONLY, 25 * 8)
        self.lanes: tuple[Template, int] | None = None  # what the buffer holds
        grain = self.group * card_text.RUN
        self.pace = SlicePace(SLICE_SECONDS, grain, grain)
        self.lock = threading.Lock()

    def scan(self, template: Template) -> Scan:
        def scan(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
            try:
                with self.lock:
                    results = self._launch(template, start >> 32, start & WORD_MASK, count, limit, lowest)
            except cl.Error as error:
                raise KernelError(f"{self.name}: {error}") from error
            found = next((int(result) for result in results[:-1] if result != card_text.NOTHING), None)
            if found is None:
                return None
            nonce = start + found
            digest = keccak.hash_nonce(template.index, nonce, template.entropy, template.farmer)
            return nonce, int.from_bytes(digest[:8], "big")

        return scan

    def _launch(self, template: Template, high: int, start: int, count: int, limit: int, lowest: bool) -> np.ndarray:
        """Run the kernel and wait for its results, without the GIL."""
        if self.lanes != (template, high):
            cl.enqueue_copy(self.queue, self.lane_buffer, _words(template, high, self.form.parts), is_blocking=True)
            self.lanes = template, high
        cl.enqueue_copy(self.queue, self.result_buffer, self.nothing, is_blocking=False)
        runs = (start % card_text.RUN + count + card_text.RUN - 1) // card_text.RUN
        items = -(-runs // self.group) * self.group
        numbers = np.uint32(start), np.uint32(count), np.uint64(limit), np.uint32(lowest)
        self.kernel(self.queue, (items,), (self.group,), self.lane_buffer, *numbers, self.result_buffer)
        cl.enqueue_copy(self.queue, self.results, self.result_buffer, is_blocking=True)
        return self.results.copy()

    def trial(self) -> float:
        """Hashes a second, in a trial of some milliseconds. Raises KernelError if it hashes wrong."""
        template = Template(1, bytes(range(32)), bytes(range(32, 64)))
        scan = self.scan(template)
        prefixes = {
            nonce: int.from_bytes(keccak.hash_nonce(1, nonce, template.entropy, template.farmer)[:8], "big")
            for nonce in range(2**32 - 4, 2**32 + 28)
        }
        for start, count in ((2**32 - 4, 4), (2**32, 28)):
            for number in range(start, start + count):
                if scan(number, 1, prefixes[number], True) != (number, prefixes[number]):
                    raise KernelError(f"its driver builds a wrong program of {64 // self.form.parts}-bit words")
        while True:
            count = self.pace.nonces
            began = time.perf_counter()
            scan(0, count, 0, False)
            seconds = time.perf_counter() - began
            self.pace.adapt(count, seconds)
            if seconds >= TRIAL_SECONDS:
                return count / seconds


@functools.lru_cache(maxsize=512)
def _words(template: Template, high: int, parts: int) -> np.ndarray:
    """What nonces with one high word share: round 1's linear half, as 25·parts words."""
    message = keccak.encode(template.index, high << 32, template.entropy, template.farmer)
    return words_of(keccak.first_linear(keccak.absorb(message)), parts)


def words_of(lanes: Sequence[int], parts: int) -> np.ndarray:
    """Lanes as the program takes them: the words of a lane side by side."""
    words = [word for lane in lanes for word in keccak.split(lane, parts)]
    return np.array(words, np.uint64 if parts == 1 else np.uint32)
