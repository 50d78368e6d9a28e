"""The network's configuration as ledger entries, for clients that ask what a transaction may use.

Limits, fees and timing are there; the cost model's parameters (CPU, memory) have no counterpart in this network.
"""

from __future__ import annotations

from functools import lru_cache

from stellar_sdk import xdr

from kalepool.devnet import settings
from kalepool.devnet.ledger.ledger_entries import ConfigSetting, LedgerEntry

_Id = xdr.ConfigSettingID
_u32, _i64, _u64 = xdr.Uint32, xdr.Int64, xdr.Uint64


def _entries(temporary_ttl: int) -> list[xdr.ConfigSettingEntry]:
    compute = xdr.ConfigSettingContractComputeV0(
        ledger_max_instructions=_i64(settings.LEDGER_MAX_INSTRUCTIONS),
        tx_max_instructions=_i64(settings.TX_MAX_INSTRUCTIONS),
        fee_rate_per_instructions_increment=_i64(settings.FEE_PER_10K_INSTRUCTIONS),
        tx_memory_limit=_u32(settings.TX_MEMORY_LIMIT),
    )
    cost = xdr.ConfigSettingContractLedgerCostV0(
        ledger_max_disk_read_entries=_u32(settings.LEDGER_MAX_DISK_READ_ENTRIES),
        ledger_max_disk_read_bytes=_u32(settings.LEDGER_MAX_DISK_READ_BYTES),
        ledger_max_write_ledger_entries=_u32(settings.LEDGER_MAX_WRITE_ENTRIES),
        ledger_max_write_bytes=_u32(settings.LEDGER_MAX_WRITE_BYTES),
        tx_max_disk_read_entries=_u32(settings.TX_MAX_DISK_READ_ENTRIES),
        tx_max_disk_read_bytes=_u32(settings.TX_MAX_DISK_READ_BYTES),
        tx_max_write_ledger_entries=_u32(settings.TX_MAX_WRITE_ENTRIES),
        tx_max_write_bytes=_u32(settings.TX_MAX_WRITE_BYTES),
        fee_disk_read_ledger_entry=_i64(settings.FEE_DISK_READ_ENTRY),
        fee_write_ledger_entry=_i64(settings.FEE_WRITE_ENTRY),
        fee_disk_read1_kb=_i64(settings.FEE_DISK_READ_1KB),
        soroban_state_target_size_bytes=_i64(4_000_000_000),
        rent_fee1_kb_soroban_state_size_low=_i64(-17_000),
        rent_fee1_kb_soroban_state_size_high=_i64(10_000),
        soroban_state_rent_fee_growth_factor=_u32(5_000),
    )
    cost_ext = xdr.ConfigSettingContractLedgerCostExtV0(
        tx_max_footprint_entries=_u32(settings.TX_MAX_FOOTPRINT_ENTRIES),
        fee_write1_kb=_i64(settings.FEE_WRITE_1KB),
    )
    history = xdr.ConfigSettingContractHistoricalDataV0(fee_historical1_kb=_i64(settings.FEE_HISTORICAL_1KB))
    events = xdr.ConfigSettingContractEventsV0(
        tx_max_contract_events_size_bytes=_u32(settings.TX_MAX_EVENTS_SIZE_BYTES),
        fee_contract_events1_kb=_i64(settings.FEE_EVENTS_1KB),
    )
    bandwidth = xdr.ConfigSettingContractBandwidthV0(
        ledger_max_txs_size_bytes=_u32(settings.LEDGER_MAX_TRANSACTION_BYTES),
        tx_max_size_bytes=_u32(settings.TX_MAX_SIZE_BYTES),
        fee_tx_size1_kb=_i64(settings.FEE_TX_SIZE_1KB),
    )
    archival = xdr.StateArchivalSettings(
        max_entry_ttl=_u32(settings.MAX_ENTRY_TTL),
        min_temporary_ttl=_u32(temporary_ttl),
        min_persistent_ttl=_u32(settings.MIN_PERSISTENT_TTL),
        persistent_rent_rate_denominator=_i64(settings.PERSISTENT_RENT_DENOMINATOR),
        temp_rent_rate_denominator=_i64(settings.TEMPORARY_RENT_DENOMINATOR),
        max_entries_to_archive=_u32(1_000),
        live_soroban_state_size_window_sample_size=_u32(30),
        live_soroban_state_size_window_sample_period=_u32(64),
        eviction_scan_size=_u32(100_000),
        starting_eviction_scan_level=_u32(7),
    )
    return [
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_CONTRACT_COMPUTE_V0, contract_compute=compute),
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_CONTRACT_LEDGER_COST_V0, contract_ledger_cost=cost),
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_CONTRACT_LEDGER_COST_EXT_V0, contract_ledger_cost_ext=cost_ext),
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_CONTRACT_HISTORICAL_DATA_V0, contract_historical_data=history),
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_CONTRACT_EVENTS_V0, contract_events=events),
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_CONTRACT_BANDWIDTH_V0, contract_bandwidth=bandwidth),
        xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_STATE_ARCHIVAL, state_archival_settings=archival),
    ]


def config_settings(temporary_ttl: int = settings.MIN_TEMPORARY_TTL) -> dict[bytes, LedgerEntry]:
    """By packed ledger key. `temporary_ttl`: ledgers that a new temporary entry lives."""
    return _by_key(_entries(temporary_ttl))


@lru_cache(maxsize=8)
def ledger_timing(ledger_seconds: float) -> dict[bytes, LedgerEntry]:
    """How fast ledgers are to be closed (CAP-70), by packed ledger key; the timeouts are stellar-core's first ones."""
    timing = xdr.ConfigSettingSCPTiming(
        ledger_target_close_time_milliseconds=_u32(round(1000 * ledger_seconds)),
        nomination_timeout_initial_milliseconds=_u32(1_000),
        nomination_timeout_increment_milliseconds=_u32(1_000),
        ballot_timeout_initial_milliseconds=_u32(1_000),
        ballot_timeout_increment_milliseconds=_u32(1_000),
    )
    return _by_key([xdr.ConfigSettingEntry(_Id.CONFIG_SETTING_SCP_TIMING, contract_scp_timing=timing)])


def _by_key(entries: list[xdr.ConfigSettingEntry]) -> dict[bytes, LedgerEntry]:
    found = (ConfigSetting(entry.config_setting_id.value, entry.to_xdr_bytes()) for entry in entries)
    return {data.ledger_key: LedgerEntry(data, 1) for data in found}
