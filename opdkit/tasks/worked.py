"""Worked solutions of datasets with a fixed solution procedure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_SUM = re.compile(r"\d+(?: [-+] \d+)+")


def worked_solution(dataset: str, fields: Mapping[str, object]) -> str | None:
    """A step-by-step solution of a problem with these fields, None if the dataset has none."""
    write = _WRITERS.get(dataset)
    return None if write is None else write(fields)


def left_to_right(expression: str) -> str | None:
    """Solves sums and differences of integers: one numbered step per line, boxed value. None for anything else."""
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
