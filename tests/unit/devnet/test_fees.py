"""Resource and rent fees. The numbers are worked out by hand from CAP-46-07's formulas."""

from __future__ import annotations

from kalepool.devnet.ledger.fees import RentChange, Resources, events_fee, non_refundable_fee, rent_fee


def test_resources_are_paid_by_started_units() -> None:
    nothing = Resources(0, 0, 0, 0, 0, 0)
    # 300 bytes of result are always kept: ceil(300 * 4059 / 1024).
    assert non_refundable_fee(nothing) == 1190
    some = Resources(10_001, 1, 2, 1024, 2048, 724)
    # 8 + 1563 + 5000 + 447 + 1750 + 4059 (1024 bytes of history) + ceil(724 * 406 / 1024)
    assert non_refundable_fee(some) == 8 + 1563 + 5000 + 447 + 1750 + 4059 + 288
    assert events_fee(0) == 0
    assert events_fee(1) == 5
    assert events_fee(1024) == 5000


def test_a_new_temporary_entry_pays_for_its_life_and_its_ttl_entry() -> None:
    new = RentChange(
        persistent=False, code=False, old_size=0, new_size=1024, old_live_until=0, new_live_until=2429 + 100
    )
    # 2430 ledgers at 1000 stroops per KB and 2430 ledgers; then one TTL entry: 2500 + ceil(48 * 875 / 1024).
    assert rent_fee([new], 100) == 1000 + 2500 + 42


def test_growth_is_paid_for_the_rest_of_the_life_only() -> None:
    grown = RentChange(False, False, old_size=512, new_size=1024, old_live_until=342, new_live_until=342)
    # half a KB for the 243 ledgers 100 to 342: ceil(512 * 1000 * 243 / (1024 * 2430))
    assert rent_fee([grown], 100) == 50
    shrunk = RentChange(False, False, old_size=1024, new_size=512, old_live_until=342, new_live_until=342)
    assert rent_fee([shrunk], 100) == 0


def test_code_rent_is_a_third() -> None:
    code = RentChange(
        persistent=True, code=True, old_size=1024, new_size=1024, old_live_until=100, new_live_until=100 + 1215
    )
    assert rent_fee([code], 100) == 334 + 2500 + 42
