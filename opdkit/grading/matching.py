"""Compares two lists regardless of order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from opdkit.grading.equality import Judge, Outcome
from opdkit.grading.normal_form import compact

_MOST_ITEMS = 40


def unordered(ours: Sequence[str], gold: Sequence[str], judge: Judge) -> Outcome:
    """Whether our entries can be matched one to one with equal entries of gold."""
    if len(ours) != len(gold):
        return Outcome.NO
    mine, theirs = Counter(map(compact, ours)), Counter(map(compact, gold))
    left, right = list((mine - theirs).elements()), list((theirs - mine).elements())
    if len(left) > _MOST_ITEMS:
        return Outcome.NO
    table = [[judge(one, other) for other in right] for one in left]
    if _matched(table, {Outcome.YES}):
        return Outcome.YES
    return Outcome.OPEN if _matched(table, {Outcome.YES, Outcome.OPEN}) else Outcome.NO


def _matched(table: Sequence[Sequence[Outcome]], allowed: set[Outcome]) -> bool:
    """Whether a bipartite matching covers all rows, using allowed outcomes (augmenting paths)."""
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, outcome in enumerate(table[row]):
            if outcome in allowed and column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(table)))
