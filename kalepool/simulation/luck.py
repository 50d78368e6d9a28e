"""What hashes find: the best of n hashes has z zeros or more with probability 1 - (1 - 16^-z)^n."""

from __future__ import annotations

import math

import numpy as np

Rng = np.random.Generator

RECORDS = 16  # a farmer's best share gets better at most so often: the last would take 16^15 hashes
HASH_ROUNDING = 1e-6


def best_zeros(rng: Rng, hashes: float) -> int:
    """The most zeros among that many hashes, drawn by inverting P(best < z) = (1 - 16^-z)^hashes."""
    return int(-math.log(-math.expm1(-rng.exponential() / max(hashes, 1.0))) / math.log(16))


class Luck:
    """What each farmer's hashes of one block are worth: after how many of them its best share gets how many zeros.

    The next hash to have more than z zeros is an exponential number of hashes away, 16^(z + 1) on average, and has k
    zeros more than that with probability 16^-k or more.
    """

    def __init__(self, rng: Rng, farmers: int) -> None:
        steps = rng.exponential(size=(farmers, RECORDS))
        jumps = np.floor(rng.exponential(size=(farmers, RECORDS)) / math.log(16))
        zeros = np.cumsum(jumps + 1, axis=1) - 1
        steps[:, 1:] *= 16.0 ** (zeros[:, :-1] + 1)
        steps[:, 0] = 1.0  # the first hash is the best so far, whatever it is
        self._at = np.cumsum(steps, axis=1).tolist()
        self._zeros = zeros.astype(int).tolist()
        self._next = [0] * farmers
        self.spent = [0.0] * farmers
        self.zeros = [-1] * farmers

    def to_go(self, farmer: int) -> float:
        """How many more hashes until its best share is a better one; no number of them after the last record."""
        if self._next[farmer] == RECORDS:
            return math.inf
        return self._at[farmer][self._next[farmer]] - self.spent[farmer]

    def spend(self, farmer: int, hashes: float) -> int:
        """The zeros of its best share after so many more hashes."""
        self.spent[farmer] += hashes
        at, reached = self._at[farmer], self.spent[farmer] + HASH_ROUNDING
        while self._next[farmer] < RECORDS and at[self._next[farmer]] <= reached:
            self.zeros[farmer] = self._zeros[farmer][self._next[farmer]]
            self._next[farmer] += 1
        return self.zeros[farmer]
