"""The network's verdicts become the right typed errors, whoever raised them."""

from __future__ import annotations

import pytest
from stellar_sdk import Address, StrKey, scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.chain import Outcome, Status, decoding, may_retry
from kalepool.contract_errors import (
    CONTRACT_ERRORS,
    HarvestNotReadyError,
    PailExistsError,
    PailMissingError,
    WorkMissingError,
)
from kalepool.errors import (
    AccountMissingError,
    AssetContractError,
    BadSequenceError,
    ChainError,
    FeeUnpaidError,
    FootprintStaleError,
    InsufficientBalanceError,
    NothingHarvestableError,
    ResourceLimitError,
    RpcUnavailableError,
    TransactionExpiredError,
    TransactionFailedError,
    TrustlineMissingError,
)
from kalepool.networks import MAINNET

FARM, ASSET, TRACTOR = MAINNET.contract_id, MAINNET.asset_contract_id, str(MAINNET.tractor_id)
HASH = "ab" * 32
CODES = stellar_xdr.TransactionResultCode
TRAPPED = decoding.Result(False, "INVOKE_HOST_FUNCTION_TRAPPED", 1)


def diagnostic(contract: str | None, topics: list[stellar_xdr.SCVal]) -> str:
    contract_id = None
    if contract is not None:
        contract_id = stellar_xdr.ContractID(stellar_xdr.Hash(StrKey.decode_contract(contract)))
    body = stellar_xdr.ContractEventBody(0, stellar_xdr.ContractEventV0(topics, scval.to_string("why")))
    kind = stellar_xdr.ContractEventType.DIAGNOSTIC
    return stellar_xdr.DiagnosticEvent(
        False, stellar_xdr.ContractEvent(stellar_xdr.ExtensionPoint(0), contract_id, kind, body)
    ).to_xdr()


def called(by: str | None, contract: str, method: str) -> str:
    target = scval.to_bytes(Address(contract).key)
    return diagnostic(by, [scval.to_symbol("fn_call"), target, scval.to_symbol(method)])


def raised(contract: str | None, number: int) -> str:
    error = stellar_xdr.SCError(stellar_xdr.SCErrorType.SCE_CONTRACT, contract_code=stellar_xdr.Uint32(number))
    return diagnostic(
        contract, [scval.to_symbol("error"), stellar_xdr.SCVal(stellar_xdr.SCValType.SCV_ERROR, error=error)]
    )


def host(contract: str | None, kind: str, code: str) -> str:
    error = stellar_xdr.SCError(stellar_xdr.SCErrorType[f"SCE_{kind}"], code=stellar_xdr.SCErrorCode[f"SCEC_{code}"])
    return diagnostic(
        contract, [scval.to_symbol("error"), stellar_xdr.SCVal(stellar_xdr.SCValType.SCV_ERROR, error=error)]
    )


def simulated(number: int, events: list[str], function: str) -> ChainError:
    return decoding.simulation_error(f"HostError: Error(Contract, #{number})\n\nEvent log", events, MAINNET, function)


@pytest.mark.parametrize("number", CONTRACT_ERRORS)
def test_an_error_raised_by_the_farm_is_its_typed_error(number: int):
    error = simulated(number, [called(None, FARM, "plant"), raised(FARM, number), raised(None, number)], "plant")
    assert type(error) is CONTRACT_ERRORS[number]


@pytest.mark.parametrize("number", [10, 13, 8])
def test_an_error_that_travelled_up_from_the_asset_is_the_assets(number: int):
    events = [
        called(None, FARM, "plant"),
        called(FARM, ASSET, "burn"),
        raised(ASSET, number),
        raised(FARM, number),
        raised(None, number),
    ]
    error = simulated(number, events, "plant")
    assert isinstance(error, AssetContractError) and error.number == number


def test_errors_the_tractor_caught_are_not_its_own():
    events = [called(None, TRACTOR, "harvest")]
    for _ in range(3):
        events += [called(TRACTOR, FARM, "harvest"), raised(FARM, 9)]
    assert isinstance(
        simulated(2, [*events, raised(TRACTOR, 2), raised(None, 2)], "harvest_many"), NothingHarvestableError
    )


@pytest.mark.parametrize(
    ("function", "number", "expected"),
    [
        ("plant", 8, PailExistsError),
        ("plant", 10, AssetContractError),
        ("plant", 13, AssetContractError),
        ("work", 9, PailMissingError),
        ("work", 10, WorkMissingError),
        ("harvest", 10, WorkMissingError),
        ("harvest", 13, AssetContractError),
        ("harvest", 14, HarvestNotReadyError),
        ("harvest_many", 2, NothingHarvestableError),
    ],
)
def test_without_events_the_function_tells_who_can_have_raised_it(
    function: str, number: int, expected: type[ChainError]
):
    assert type(simulated(number, [], function)) is expected
    assert type(simulated(number, ["not base64 XDR"], function)) is expected


def test_the_servers_own_trouble_is_no_verdict_on_the_call():
    for text in ("could not get ledger entry: timeout", "", "preflight pool is full"):
        assert type(decoding.simulation_error(text, None, MAINNET, "plant")) is RpcUnavailableError


def test_too_long_a_call_is_told_from_a_wrong_one():
    budget = "HostError: Error(Budget, ExceededLimit)\n\nEvent log"
    assert type(decoding.simulation_error(budget, [], MAINNET, "harvest_many")) is ResourceLimitError
    trap = "HostError: Error(WasmVm, InvalidAction)"
    error = decoding.simulation_error(trap, [], MAINNET, "work")
    assert type(error) is TransactionFailedError and error.result_code == "Error(WasmVm, InvalidAction)"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([raised(FARM, 9), raised(FARM, 9)], PailMissingError),
        ([raised(ASSET, 10), raised(FARM, 10)], AssetContractError),
        ([host(FARM, "STORAGE", "EXCEEDED_LIMIT")], FootprintStaleError),
        ([host(FARM, "BUDGET", "EXCEEDED_LIMIT")], FootprintStaleError),
        ([host(FARM, "WASM_VM", "INVALID_ACTION")], TransactionFailedError),
        ([], FootprintStaleError),
        # the last error counts: the first was caught on the way
        ([raised(FARM, 9), host(TRACTOR, "STORAGE", "EXCEEDED_LIMIT")], FootprintStaleError),
    ],
)
def test_an_applied_failure_is_named_by_its_events(events: list[str], expected: type[ChainError]):
    error = decoding.applied_error(TRAPPED, events, MAINNET, "work", HASH)
    assert type(error) is expected
    if isinstance(error, TransactionFailedError):
        assert error.transaction_hash == HASH


@pytest.mark.parametrize("code", ["RESOURCE_LIMIT_EXCEEDED", "ENTRY_ARCHIVED", "INSUFFICIENT_REFUNDABLE_FEE"])
def test_resources_that_no_longer_fit_mean_another_state(code: str):
    """The last one meets what was simulated before the contract extended its own life, and applied after."""
    result = decoding.Result(False, f"INVOKE_HOST_FUNCTION_{code}", 1)
    error = decoding.applied_error(result, [], MAINNET, "plant", HASH)
    assert may_retry(Outcome(HASH, Status.FAILED, ledger=5, result_code=result.code, error=error)), "simulated again"
    assert type(decoding.applied_error(result, [], MAINNET, "plant", HASH)) is FootprintStaleError


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("txBAD_SEQ", BadSequenceError),
        ("txTOO_LATE", TransactionExpiredError),
        ("txINSUFFICIENT_BALANCE", FeeUnpaidError),
        ("txNO_ACCOUNT", AccountMissingError),
        ("PAYMENT_NO_DESTINATION", AccountMissingError),
        ("PAYMENT_UNDERFUNDED", InsufficientBalanceError),
        ("CHANGE_TRUST_LOW_RESERVE", InsufficientBalanceError),
        ("PAYMENT_NO_TRUST", TrustlineMissingError),
        ("txBAD_AUTH", TransactionFailedError),
    ],
)
def test_a_refusal_is_named_by_its_code(code: str, expected: type[ChainError]):
    error = decoding.refused_error(decoding.Result(False, code, 100), HASH)
    assert type(error) is expected
    assert code in str(error)


def operation_results(success: bool) -> list[stellar_xdr.OperationResult]:
    def tr(code: stellar_xdr.PaymentResultCode) -> stellar_xdr.OperationResult:
        payment = stellar_xdr.OperationResultTr(
            stellar_xdr.OperationType.PAYMENT, payment_result=stellar_xdr.PaymentResult(code)
        )
        return stellar_xdr.OperationResult(stellar_xdr.OperationResultCode.opINNER, payment)

    fine = tr(stellar_xdr.PaymentResultCode.PAYMENT_SUCCESS)
    return [fine, fine if success else tr(stellar_xdr.PaymentResultCode.PAYMENT_UNDERFUNDED)]


def result_xdr(result: stellar_xdr.TransactionResultResult) -> str:
    return stellar_xdr.TransactionResult(stellar_xdr.Int64(321), result, stellar_xdr.TransactionResultExt(0)).to_xdr()


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("bumped", [True, False])
def test_a_result_says_what_failed_also_inside_a_fee_bump(success: bool, bumped: bool):
    code = CODES.txSUCCESS if success else CODES.txFAILED
    results = operation_results(success)
    if bumped:
        inner = stellar_xdr.InnerTransactionResult(
            stellar_xdr.Int64(1),
            stellar_xdr.InnerTransactionResultResult(code, results),
            stellar_xdr.InnerTransactionResultExt(0),
        )
        pair = stellar_xdr.InnerTransactionResultPair(stellar_xdr.Hash(bytes(32)), inner)
        outer = CODES.txFEE_BUMP_INNER_SUCCESS if success else CODES.txFEE_BUMP_INNER_FAILED
        result = stellar_xdr.TransactionResultResult(outer, inner_result_pair=pair)
    else:
        result = stellar_xdr.TransactionResultResult(code, results=results)
    read = decoding.read_result(result_xdr(result))
    assert (read.success, read.fee_stroops) == (success, 321)
    assert read.code == ("txSUCCESS" if success else "PAYMENT_UNDERFUNDED")


def test_a_bad_sequence_inside_a_fee_bump_is_one():
    inner = stellar_xdr.InnerTransactionResult(
        stellar_xdr.Int64(1),
        stellar_xdr.InnerTransactionResultResult(CODES.txBAD_SEQ),
        stellar_xdr.InnerTransactionResultExt(0),
    )
    pair = stellar_xdr.InnerTransactionResultPair(stellar_xdr.Hash(bytes(32)), inner)
    result = stellar_xdr.TransactionResultResult(CODES.txFEE_BUMP_INNER_FAILED, inner_result_pair=pair)
    assert decoding.read_result(result_xdr(result)).code == "txBAD_SEQ"


def test_only_contract_events_count_as_emitted():
    emitted = 0
    events = []
    for contract in (None, FARM):
        for kind in stellar_xdr.ContractEventType:
            event = stellar_xdr.DiagnosticEvent.from_xdr(diagnostic(contract, [scval.to_symbol("mint")]))
            event.event.type = kind
            events.append(event.to_xdr())
            if kind is stellar_xdr.ContractEventType.CONTRACT:
                emitted += len(event.event.to_xdr_bytes())
    assert decoding.emitted_bytes(events) == emitted > 0
    assert decoding.emitted_bytes(None) == 0


def test_return_values_are_plain():
    assert decoding.plain_value(scval.to_uint32(7)) == 7
    assert decoding.plain_value(scval.to_int128(2**100)) == 2**100
    assert decoding.plain_value(scval.to_vec([scval.to_int128(1), scval.to_int128(0)])) == (1, 0)
    assert decoding.plain_value(scval.to_void()) is None
    assert decoding.return_value(None) is None
