"""Each code has a sentence in each language; an error's own text is told where the language has it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import kalepool
from kalepool.chain import require_destination
from kalepool.errors import ConflictError, InputError, KalepoolError, RpcUnavailableError
from kalepool.marking import Sum, mark
from kalepool.services.mining.gate import HASTY
from kalepool.view.mining import why_banned
from kalepool.view.reasons import REASONS, reason, told
from kalepool.view.words import ENGLISH, Language

PACKAGE = Path(kalepool.__file__).parent
GERMAN = Language("de")
PEOPLES = ("api", "chain", "policy", "protocol", "services", "view")
"""Packages whose errors reach pages, or are written down and shown there later."""

ELSEWHERE = {"hash-difference", "trace-difference", "range-exhausted"}
"""Of tools and workers."""


def codes_of_errors() -> set[str]:
    for package in PEOPLES:
        for found in pkgutil.walk_packages([str(PACKAGE / package)], f"kalepool.{package}."):
            importlib.import_module(found.name)
    found, left = set(), [KalepoolError]
    while left:
        each = left.pop()
        left += each.__subclasses__()
        if each.__module__.split(".")[1] in (*PEOPLES, "errors", "contract_errors", "custody", "database"):
            found.add(each.code)
    return found - ELSEWHERE


def codes_of_problems() -> set[str]:
    """What the API says by itself, and what miners are told of a wallet that cannot be paid."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name, place = getattr(call.func, "id", ""), {"Problem": 1, "PayeeError": 0}
            if name in place and len(call.args) > place[name]:
                code = call.args[place[name]]
                found |= {str(code.value)} if isinstance(code, ast.Constant) else set()
    return found


def test_each_code_has_a_sentence() -> None:
    assert codes_of_errors() - set(REASONS) == set()
    assert len(codes_of_problems()) > 20 and codes_of_problems() - set(REASONS) == set()
    assert all(GERMAN.has(sentence) for sentence in REASONS.values())
    assert not any(re.search(r"stroops|[a-z]+-[a-z]+-[a-z]+|[{}_%]", sentence) for sentence in REASONS.values())
    assert reason(None) == reason("nobody-thought-of-it") == REASONS["internal"]


def test_an_error_is_told_by_its_text_or_its_code() -> None:
    try:
        require_destination("GABC")
    except InputError as error:
        assert told(error) == str(error) == "not an address of an account (G…, M…) or a contract (C…): 'GABC'"
        assert told(error, GERMAN) == "keine Adresse eines Kontos (G…, M…) oder eines Vertrags (C…): 'GABC'"
    assert told(RpcUnavailableError("http://rpc answered 500"), GERMAN) == "das Netz antwortete nicht"
    assert told(ConflictError("100 % of it"), ENGLISH) == "100 % of it"
    inner = RpcUnavailableError("silent")
    text = mark("the network did not take it: %(reason)s")
    assert told(InputError(text, reason=inner)) == "the network did not take it: silent"
    assert told(InputError(text, reason=inner), GERMAN).endswith(": das Netz antwortete nicht")


def test_sums_have_the_signs_of_the_language() -> None:
    text = mark("%(sum)s %(asset)s are more than the %(have)s that can be withdrawn")
    error = ConflictError(text, sum=Sum(15_000_000), asset="XLM", have=Sum(1))
    assert str(error) == "1.5 XLM are more than the 0.0000001 that can be withdrawn"
    assert told(error, GERMAN) == "1,5 XLM sind mehr als die 0,0000001, die abgehoben werden können"
    assert GERMAN.kale(12_345_678_900_000) == "1.234.567,89" and ENGLISH.kale(12_345_678_900_000) == "1,234,567.89"
    assert GERMAN.rate(2_400_000) == "2,4 MH/s" and GERMAN.percent(0.125) == "12,5 %" and GERMAN.number(1000) == "1.000"


def test_why_a_miner_is_banned() -> None:
    assert why_banned(HASTY, GERMAN) == "er wartet nicht, wenn er soll"
    assert why_banned("an operator's words", GERMAN) == "an operator's words"
    assert why_banned(None, ENGLISH) == "no reason is known"
