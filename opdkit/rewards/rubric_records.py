"""Records rubrics in a file, and computes metrics of their criteria."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from opdkit.errors import RunError
from opdkit.rewards.rubric_cases import Case


def criteria_metrics(cases: Sequence[Case]) -> dict[str, float]:
    """Means over the verified rubrics.

    criteria: number of criteria; pass_rate and teacher_pass_rate: over all criteria; pass_rate_weight_<w>: over the
    criteria of that weight; hardest_criterion and easiest_criterion: lowest and highest pass rate of a criterion.
    """
    rates = {False: _Mean(), True: _Mean()}
    by_weight: defaultdict[int, _Mean] = defaultdict(_Mean)
    count, hardest, easiest = _Mean(), _Mean(), _Mean()
    for case in cases:
        if case.rubric is None or case.students is None:
            continue
        passed = pass_rates(case.students)
        count.add(len(case.rubric))
        hardest.add(min(passed))
        easiest.add(max(passed))
        for criterion, rate in zip(case.rubric, passed, strict=True):
            by_weight[criterion.weight].add(rate)
            rates[False].add(rate)
        for rate in pass_rates(case.teachers or []):
            rates[True].add(rate)
    named = {"criteria": count, "pass_rate": rates[False], "teacher_pass_rate": rates[True]}
    named |= {"hardest_criterion": hardest, "easiest_criterion": easiest}
    named |= {f"pass_rate_weight_{weight}": mean for weight, mean in sorted(by_weight.items())}
    return {name: mean.value() for name, mean in named.items() if mean.count}


def pass_rates(rows: Sequence[Sequence[bool]]) -> list[float]:
    """For each criterion, the fraction of rows that meet it."""
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


class RubricLog:
    """`rubrics.jsonl`: one line per rubric, with the pass rate of each criterion.

    When a step is graded again after a resume, all lines from that step on are replaced.

    Args:
        file: the file, None for no recording.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._cut = False

    def write(self, step: int, cases: Sequence[Case]) -> None:
        """Append the rubrics of a step. Raises RunError if writing fails."""
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if not self._cut:
                self._drop_from(self._file, step)
                self._cut = True
            with self._file.open("a", encoding="ascii") as stream:
                stream.write("".join(json.dumps({"step": step, **_line(case)}) + "\n" for case in cases))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise RunError(f"{self._file} could not be written: {error.strerror}") from error

    def _drop_from(self, file: Path, step: int) -> None:
        if not file.exists():
            return
        kept = [line for line in file.read_bytes().split(b"\n")[:-1] if -1 < _step(line) < step]
        beside = file.with_name(f".{file.name}.writing")
        beside.write_bytes(b"".join(line + b"\n" for line in kept))
        beside.replace(file)


def _step(line: bytes) -> int:
    """The step of a line, -1 for a line that is not a rubric's."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return -1
    found = row.get("step") if isinstance(row, dict) else None
    return found if isinstance(found, int) else -1


def _line(case: Case) -> dict[str, object]:
    common = {
        "problem": case.group.problem.identifier,
        "responses": list(case.places),
        "teacher_answers": len(case.answers),
    }
    if case.rubric is None:
        return {**common, "status": "no_rubric"}
    students = pass_rates(case.students) if case.students is not None else None
    teachers = pass_rates(case.teachers) if case.teachers is not None else None
    criteria = [
        {
            "criterion": criterion.text,
            "weight": criterion.weight,
            "students": students[i] if students else None,
            "teachers": teachers[i] if teachers else None,
        }
        for i, criterion in enumerate(case.rubric)
    ]
    return {**common, "status": "ok" if students is not None else "no_verdicts", "criteria": criteria}


class _Mean:
    def __init__(self) -> None:
        self.count = 0
        self._total = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self._total += value

    def value(self) -> float:
        return self._total / self.count
