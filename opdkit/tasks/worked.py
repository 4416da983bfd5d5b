"""Worked solutions of the data sets whose problems are worked out the same way each time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_SUM = re.compile(r"\d+(?: [-+] \d+)+")


def worked_solution(dataset: str, fields: Mapping[str, object]) -> str | None:
    """A solution in steps of a problem with these fields, None where the data set has none."""
    write = _WRITERS.get(dataset)
    return None if write is None else write(fields)


def left_to_right(expression: str) -> str | None:
    """A sum or difference of whole numbers, one numbered step a line, the value in a box. None for anything else."""
    if _SUM.fullmatch(expression) is None:
        return None
    first, *rest = expression.split()
    total, lines = int(first), ["From left to right:\n"]
    for number, (sign, term) in enumerate(zip(rest[::2], rest[1::2], strict=True), start=1):
        following = total + int(term) if sign == "+" else total - int(term)
        lines.append(f"{number}. {total} {sign} {term} = {following}\n")
        total = following
    return "".join(lines) + f"\\boxed{{{total}}}"


_WRITERS: Mapping[str, Callable[[Mapping[str, object]], str | None]] = {
    "chain_sum": lambda fields: left_to_right(str(fields["expression"])),
}
