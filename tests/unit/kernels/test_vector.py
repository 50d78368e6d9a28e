"""The machine code of the CPU layouts: only what the processor it is for understands, and no lane left to scalars."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from llvmlite import binding, ir

from kernels import cpu, machine, vector
from kernels.vector import Layout

binding.initialize_all_targets()
binding.initialize_all_asmprinters()

AVX512 = replace(cpu.layout("avx512"), target=("sapphirerapids", ""))
"""For a processor that has it: the host's own features, which it is compiled for otherwise, may lack it."""


def assembly(layout: Layout, triple: str, processor: str, features: str) -> str:
    """The scan as text, compiled for another machine than this one may be."""
    module = ir.Module()
    module.triple = triple
    vector.build_scan(module, layout).linkage = "external"
    compiled = binding.parse_assembly(str(module))
    compiled.verify()
    target = binding.Target.from_triple(triple).create_target_machine(cpu=processor, features=features, opt=3)
    options = binding.create_pipeline_tuning_options(speed_level=2)
    builder = binding.create_pass_builder(target, options)
    builder.getModulePassManager().run(compiled, builder)
    return target.emit_assembly(compiled)


def instructions(text: str) -> dict[str, int]:
    names = re.findall(r"^\t([a-z]\w*)", text, re.MULTILINE)
    return {name: names.count(name) for name in set(names)}


@pytest.mark.parametrize(
    ("backend", "has", "has_not"),
    [
        ("avx2", ("vpalignr", "vpandn"), r"%zmm|%k[0-7]|%ymm(1[6-9]|2\d|3\d)|vpternlog|vprol"),
        ("sse2", ("pshufd", "pandn"), r"%[yz]mm|\tv|pshufb|palignr"),
    ],
)
def test_a_forced_backend_uses_nothing_newer(backend: str, has: tuple[str, ...], has_not: str) -> None:
    # The machine compiled for has everything; what the layout's target lacks must not show.
    text = assembly(cpu.layout(backend), "x86_64-unknown-linux-gnu", "sapphirerapids", "")
    assert set(has) <= instructions(text).keys()
    assert not re.search(has_not, text)


def test_avx512_spends_one_instruction_on_chi_and_on_a_rotation() -> None:
    used = instructions(assembly(AVX512, "x86_64-unknown-linux-gnu", "sapphirerapids", ""))
    assert used["vpternlogq"] > 3 * 25  # chi of rounds 1, 2 and the loop
    assert 2 * 29 <= used["vprolq"] <= 2 * 29 + 11 + 5  # round 2, the loop, what reaches round 1, the last round
    assert not {"vpandnq", "vpsrlq"} & used.keys()


@pytest.mark.parametrize(
    ("features", "wanted"), [("+neon,+sha3", {"xar", "bcax", "eor3", "rax1"}), ("+neon", {"ext", "bic"})]
)
def test_aarch64_code(monkeypatch: pytest.MonkeyPatch, features: str, wanted: set[str]) -> None:
    monkeypatch.setattr(machine, "cpu_features", lambda: frozenset(features.replace("+", "").split(",")))
    text = assembly(cpu.layout("neon"), "aarch64-unknown-linux-gnu", "generic", features)
    used = instructions(text)
    assert wanted <= used.keys()
    assert not re.search(r"\tror\t|\tbic\tx|\teor\tx", text)


def test_spilled_vectors_lie_within_cache_lines() -> None:
    text = assembly(AVX512, "x86_64-unknown-linux-gnu", "sapphirerapids", "")
    assert re.search(r"andq\t\$-64, %rsp", text)


def test_neon_without_sha3_has_little_more_code_to_compile_than_portable() -> None:
    neon, whole, portable = (
        sum(instructions(assembly(layout, "aarch64-linux-gnu", "cortex-a72", "+neon")).values())
        for layout in (Layout(128, 4, short=True), Layout(128, 4), Layout(128, 1))
    )
    assert neon < 1.15 * portable < whole, (neon, portable, whole)
