"""The WGSL of the search on this machine's first Vulkan card, without a browser: right, and how fast?

    pip install wgpu && python -m benchmarks.webgpu [--jobs 200] [--launch 27]

Needs the kernels, what they need, and wgpu, which is in no lock file: so it can be carried to a bare machine.
"""

from __future__ import annotations

import argparse
import importlib
import random
import statistics
import time
from typing import Any

import numpy as np

import kernels
from kernels import card_text, driver, keccak

ITEM_GROUPS = card_text.RUN * card_text.WGSL_GROUP  # nonces of a work group
SHAPES: list[dict[str, Any]] = [{}, {"ternary": False}, *({"rounds_a_turn": turn} for turn in (1, 11, 22))]


def main() -> None:
    """Check, then measure other shapes of the kernel as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="random jobs (default 200)")
    parser.add_argument("--launch", type=int, default=27, help="nonces of a launch, as a power of two (default 27)")
    options = parser.parse_args()
    card = Card()
    card.build()
    cpu = next(name for name in kernels.backends() if not kernels.is_of_cards(name))
    numbers = random.Random(3)
    for job in range(options.jobs):
        template = kernels.Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
        high, low = numbers.getrandbits(32), numbers.randrange(2**32)
        count = min(numbers.choice([1, 100, 5000, 300_000]), 2**options.launch, 2**32 - low)
        limit, lowest = 2 ** numbers.randrange(40, 65) - 1, bool(job & 1)
        hit = driver.load_backend(cpu).scans(template, 1)[0](high << 32 | low, count, limit, lowest)
        card.prepare(template, high)
        assert card.scan(low, count, limit, lowest) == (hit and hit[0] % 2**32), (job, low, count, limit, lowest)
    print(f"right: {options.jobs} random jobs, as by {cpu}")
    card.prepare(kernels.Template(1, bytes(32), bytes(32)), 0)
    count = 2**options.launch
    for shape in SHAPES:
        card.build(**shape)
        card.scan(0, count // 8, 0, False)
        times: list[float] = []
        for _ in range(9):
            began = time.perf_counter()
            card.scan(0, count, 0, False)
            times.append(time.perf_counter() - began)
        middle = statistics.median(times)
        print(
            f"{shape or 'as it is'}: median {count / middle / 1e6:,.1f} MH/s, a launch {1000 * middle:.2f} ms",
            flush=True,
        )


class Card:
    """A device of wgpu with the buffers of `card_text.wgsl`."""

    def __init__(self) -> None:
        self.wgpu: Any = importlib.import_module("wgpu")
        adapter = self.wgpu.gpu.request_adapter_sync(power_preference="high-performance")
        print(dict(adapter.info))
        self.device = adapter.request_device_sync()
        usage = self.wgpu.BufferUsage
        sizes = 50 + len(card_text.WGSL_CONSTANTS), 5, card_text.RESULTS
        self.buffers = [
            self.device.create_buffer(size=4 * size, usage=usage.STORAGE | usage.COPY_DST | usage.COPY_SRC)
            for size in sizes
        ]
        self._write(0, 200, card_text.WGSL_CONSTANTS)

    def build(self, **shape: Any) -> None:
        module = self.device.create_shader_module(code=card_text.wgsl(**shape))
        self.pipeline = self.device.create_compute_pipeline(
            layout="auto", compute={"module": module, "entry_point": "search"}
        )
        entries = [
            {"binding": number, "resource": {"buffer": buffer, "offset": 0, "size": buffer.size}}
            for number, buffer in enumerate(self.buffers)
        ]
        layout = self.pipeline.get_bind_group_layout(0)
        self.bound = self.device.create_bind_group(layout=layout, entries=entries)

    def prepare(self, template: kernels.Template, high: int) -> None:
        message = keccak.encode(template.index, high << 32, template.entropy, template.farmer)
        lanes = keccak.first_linear(keccak.absorb(message))
        self._write(0, 0, [word for lane in lanes for word in keccak.split(lane, 2)])

    def scan(self, low: int, count: int, limit: int, lowest: bool) -> int | None:
        """The low word of the hit, as model.Scan chooses it."""
        self._write(1, 0, [low, count, limit >> 32, limit & 0xFFFFFFFF, int(lowest)])
        self._write(2, 0, [card_text.NOTHING] * card_text.RESULTS)
        groups = -(-(low % card_text.RUN + count) // ITEM_GROUPS)
        encoder = self.device.create_command_encoder()
        work = encoder.begin_compute_pass()
        work.set_pipeline(self.pipeline)
        work.set_bind_group(0, self.bound)
        work.dispatch_workgroups(min(groups, 32768), -(-groups // 32768))
        work.end()
        self.device.queue.submit([encoder.finish()])
        results = np.frombuffer(self.device.queue.read_buffer(self.buffers[2]), np.uint32)
        return next((low + int(found) for found in results[:-1] if found != card_text.NOTHING), None)

    def _write(self, number: int, offset: int, words: list[int]) -> None:
        self.device.queue.write_buffer(self.buffers[number], offset, np.array(words, np.uint32).tobytes())


if __name__ == "__main__":
    main()
