"""Finds tokens that complete an n-gram already in the response."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def repeated(tokens: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """bool[T]: whether each token completes an n-gram that occurred before. tokens i64[T] of one response.

    Exact: an n-gram's index is that of the pair (index of its first n-1 tokens, last token), in n sorts overall.
    """
    found = np.zeros(len(tokens), dtype=bool)
    count = len(tokens) - n + 1
    if count < 2:
        return found
    base = int(tokens.max()) + 1
    numbers = tokens[:count]
    for place in range(1, n):
        pairs = numbers * base + tokens[place : place + count]
        numbers = np.unique(pairs, return_inverse=True)[1]
    _, first, numbers = np.unique(numbers, return_index=True, return_inverse=True)
    found[n - 1 :] = first[numbers] < np.arange(count)
    return found
