"""What the KALE contract says no with, a class for each of its codes. `fault` says who owes a stake lost by it."""

from __future__ import annotations

from typing import ClassVar

from kalepool.errors import ChainError, Fault


class ContractError(ChainError):
    """The KALE contract said no. Raise and catch the subclasses; `from_number` finds the one of a number."""

    code = "contract"
    number: ClassVar[int] = 0

    def __init__(self, message: str = "") -> None:
        super().__init__(message or f"KALE contract error #{self.number} {type(self).__name__.removesuffix('Error')}")

    @staticmethod
    def from_number(number: int, message: str = "") -> ContractError:
        """The typed error of the contract's error `number`; an unknown number gives a plain ContractError."""
        cls = CONTRACT_ERRORS.get(number)
        return (
            cls(message) if cls else ContractError(message or f"KALE contract error #{number}, unknown to this version")
        )


class HomesteadExistsError(ContractError):
    """The contract was set up already."""

    code, number = "homestead-exists", 1


class HomesteadMissingError(ContractError):
    """The contract was never set up."""

    code, number = "homestead-missing", 2


class FarmBlockMissingError(ContractError):
    """The contract has no FarmBlock: nothing was ever started."""

    code, number = "farm-block-missing", 3


class FarmPausedError(ContractError):
    """Planting is paused by the contract's owner."""

    code, number = "farm-paused", 4


class FarmNotPausedError(ContractError):
    """The farm is not paused."""

    code, number = "farm-not-paused", 5


class PlantAmountTooLowError(ContractError):
    """A negative stake."""

    code, number = "plant-amount-too-low", 6
    fault = Fault.BACKEND


class ZeroCountTooLowError(ContractError):
    """A later work needs strictly more zeros than the one before."""

    code, number = "zero-count-too-low", 7
    fault = Fault.POOLER


class PailExistsError(ContractError):
    """The farmer has planted in this block already."""

    code, number = "pail-exists", 8
    fault = Fault.BACKEND


class PailMissingError(ContractError):
    """The farmer has not planted in this block, or has harvested it, or it expired."""

    code, number = "pail-missing", 9
    fault = Fault.BACKEND


class WorkMissingError(ContractError):
    """Nothing was worked: there is nothing to harvest."""

    code, number = "work-missing", 10
    fault = Fault.POOLER


class BlockMissingError(ContractError):
    """The block does not exist, or was evicted after about a day."""

    code, number = "block-missing", 11


class BlockInvalidError(ContractError):
    """The block contradicts itself."""

    code, number = "block-invalid", 12


class HashInvalidError(ContractError):
    """The hash is not that of the current block, farmer and nonce."""

    code, number = "hash-invalid", 13
    fault = Fault.POOLER


class HarvestNotReadyError(ContractError):
    """The block is not over."""

    code, number = "harvest-not-ready", 14
    fault = Fault.BACKEND


class GapCountTooLowError(ContractError):
    """Work in the very ledger of the plant."""

    code, number = "gap-count-too-low", 15
    fault = Fault.BACKEND


CONTRACT_ERRORS: dict[int, type[ContractError]] = {cls.number: cls for cls in ContractError.__subclasses__()}
