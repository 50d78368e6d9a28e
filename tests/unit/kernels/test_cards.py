"""Which of the devices that OpenCL offers are driven by it."""

from __future__ import annotations

from kernels.machine import NVIDIA, Address, CudaCard, OpenclCard, choose_cards, pci_address

AMD, INTEL = 0x1002, 0x8086
FIRST, SECOND = (0, 1, 0), (0, 2, 0)


def card(name: str, platform: str, vendor: int, address: Address | None = None) -> OpenclCard:
    return OpenclCard(name, platform, vendor, address, None)


def chosen(found: list[OpenclCard], *cuda: CudaCard) -> list[str]:
    return [card.name for card in choose_cards(found, cuda)]


def test_no_card_beside_cuda() -> None:
    nvidia = [card("a", "NVIDIA", NVIDIA, FIRST), card("b", "NVIDIA", NVIDIA, SECOND)]
    assert chosen(nvidia) == ["a", "b"]
    assert chosen(nvidia, CudaCard("a", FIRST), CudaCard("b", SECOND)) == []
    assert chosen(nvidia, CudaCard("b", SECOND)) == ["a"], "one that CUDA was not given"
    assert chosen(nvidia, CudaCard("?", None)) == []
    unknown = [card("a", "NVIDIA", NVIDIA), card("b", "NVIDIA", NVIDIA)]
    assert chosen(unknown, CudaCard("a", FIRST)) == []
    other = card("gfx1100", "AMD", AMD, (0, 3, 0))
    assert chosen([*nvidia, other], CudaCard("a", FIRST), CudaCard("b", SECOND)) == ["gfx1100"]


def test_each_card_once_however_many_drivers_it_has() -> None:
    amd = [card("a", "AMD", AMD, FIRST), card("b", "AMD", AMD, SECOND)]
    assert chosen([*amd, card("rusticl a", "rusticl", AMD, FIRST)]) == ["a", "b"]
    assert chosen([*amd, card("rusticl a", "rusticl", AMD), card("rusticl b", "rusticl", AMD)]) == ["a", "b"]
    intel = [card("Arc", "Intel", INTEL), card("UHD", "Intel", INTEL)]
    assert chosen([*intel, card("rusticl Arc", "rusticl", INTEL)]) == ["Arc", "UHD"]
    assert chosen([*amd, *intel]) == ["a", "b", "Arc", "UHD"]


def test_addresses_as_drivers_write_them() -> None:
    assert pci_address("0000:65:00.0") == (0, 0x65, 0)
    assert pci_address("00000001:0A:1F.0") == (1, 0x0A, 0x1F)
    assert pci_address("") is None and pci_address("somewhere") is None
