"""Compares inequalities, intervals and unions of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from opdkit.grading.equality import Judges, Outcome, every, some
from opdkit.grading.matching import unordered
from opdkit.grading.normal_form import read_number
from opdkit.grading.shapes import interval_of, items_of, read_chain, read_shape, split_top, without_membership

_CUP = re.compile(r"\\cup(?![A-Za-z])")


def compare_relations(ours: str, gold: str, judges: Judges) -> Outcome | None:
    """The outcome for two sets of real numbers given as inequalities or intervals; None for anything else."""
    mine, theirs = _regions(ours), _regions(gold)
    if mine is None or theirs is None:
        return None
    chains = [read_chain(side[0]) if len(side) == 1 else None for side in (mine, theirs)]
    if chains[0] is not None and chains[1] is not None:
        if chains[0].signs == chains[1].signs:
            told = every(_parts(chains[0].members, chains[1].members, judges))
            if chains[0].signs == ("!=",):  # may be reversed
                told = some([told, every(_parts(chains[0].members[::-1], chains[1].members, judges))])
            solved = _solved(chains[0].members) and _solved(chains[1].members)
            if told is Outcome.YES or (told is Outcome.NO and solved):
                return told
        return judges.whole(ours, gold)
    one = [part for part in map(_interval, mine) if part is not None]
    other = [part for part in map(_interval, theirs) if part is not None]
    if len(one) < len(mine) or len(other) < len(theirs):
        return judges.whole(ours, gold)
    if one == [ours] and other == [gold]:
        return None  # two intervals, compared by their ends
    told = unordered(one, other, judges.part)
    if told is Outcome.YES or (len(one) == len(other) == 1 and not any("\\{" in part for part in one + other)):
        return told
    return judges.whole(ours, gold)


def _parts(ours: Sequence[str], gold: Sequence[str], judges: Judges) -> list[Outcome]:
    return [judges.part(one, other) for one, other in zip(ours, gold, strict=True)]


def _solved(members: Sequence[str]) -> bool:
    """Whether a chain bounds a single letter."""
    letters = [member for member in members if member.isalpha() and len(member) == 1]
    return len(letters) == 1 and all(member in letters or read_number(member) is not None for member in members)


def _regions(text: str) -> list[str] | None:
    """The parts of a union of intervals, or of inequalities joined by `or`; None for anything else."""
    text = without_membership(text)
    items = items_of(text)
    if items and all(read_chain(item) is not None for item in items):
        return items
    parts = [part.strip() for part in split_top(text, _CUP)]
    if len(parts) == 1:
        shape = read_shape(text)
        known = shape is not None and (shape.kind == "interval" or (shape.kind == "tuple" and "\\infty" in text))
        return parts if known else None
    return parts if all(_interval(part) is not None for part in parts) else None


def _interval(part: str) -> str | None:
    chain = read_chain(part)
    if chain is not None:
        return interval_of(chain)
    shape = read_shape(part)
    if shape is None or shape.kind not in ("interval", "tuple", "set"):
        return None
    return part if shape.kind == "set" or len(shape.items) == 2 else None
