"""What somebody may spend of another's balance, and until when (soroban-env-host, allowance.rs)."""

from __future__ import annotations

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import ContractData
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.asset_errors import ALLOWANCE
from kalepool.devnet.soroban.host import SorobanHost
from kalepool.devnet.wire import sc_addr, sc_i128, sc_map, sc_symbol, sc_u32, sc_vec


def read_allowance(host: SorobanHost, owner: str, spender: str) -> int:
    """Stroops that may be spent; 0 once the allowance's last ledger is over."""
    amount, until = _read(host, owner, spender) or (0, 0)
    return amount if until >= host.sequence else 0


def write_allowance(host: SorobanHost, owner: str, spender: str, amount: int, until: int) -> None:
    """Allows that much through a ledger. One that allows nothing may have any ledger, also a past one."""
    if until > host.max_live_until:
        raise host.error(ALLOWANCE, "live_until is greater than max", sc_u32(until), sc_u32(host.max_live_until))
    if amount > 0 and until < host.sequence:
        message = "live_until must be >= ledger sequence"
        raise host.error(ALLOWANCE, message, sc_u32(until), sc_u32(host.sequence))
    before = _read(host, owner, spender)
    if before is None and amount == 0:
        return
    data = _pack(host, owner, spender, amount, until)
    host.store(data.ledger_key, data, sc_addr(owner))
    if amount > 0 and (0 if before is None else before[1]) < until:
        lives = until - host.sequence
        host.extend_ttl(data.ledger_key, lives, lives)


def spend_allowance(host: SorobanHost, owner: str, spender: str, amount: int) -> None:
    """Takes an amount off what is allowed. Raises where less is."""
    allowed = read_allowance(host, owner, spender)
    if allowed < amount:
        raise host.error(ALLOWANCE, "not enough allowance to spend", sc_i128(allowed), sc_i128(amount))
    if amount > 0:
        kept = _read(host, owner, spender)
        assert kept is not None
        write_allowance(host, owner, spender, allowed - amount, kept[1])


def _read(host: SorobanHost, owner: str, spender: str) -> tuple[int, int] | None:
    """(amount, last ledger) as they were written."""
    entry = host.load(_pack(host, owner, spender, 0, 0).ledger_key, sc_addr(owner))
    if entry is None or not isinstance(entry.data, ContractData):
        return None
    fields = {name.value: item.value for name, item in scv.decode(entry.data.value).value}
    return fields["amount"], fields["live_until_ledger"]


def _pack(host: SorobanHost, owner: str, spender: str, amount: int, until: int) -> ContractData:
    assert host.contract is not None
    pair = sc_map([(sc_symbol("from"), sc_addr(owner)), (sc_symbol("spender"), sc_addr(spender))])
    key = sc_vec([sc_symbol("Allowance"), pair])
    value = sc_map([(sc_symbol("amount"), sc_i128(amount)), (sc_symbol("live_until_ledger"), sc_u32(until))])
    return ContractData(wire.ONE + host.contract, key, wire.TEMPORARY, value)
