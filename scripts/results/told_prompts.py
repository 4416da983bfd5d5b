"""How well a student uses a hint: greedy pass@1 with the prompts of the privileged teachers.

    python scripts/results/told_prompts.py runs/methods

Students and problems are those of methods.py; the worked solution stands in for the sibling. This measures the student
as its own teacher: its accuracy with the teacher's prompt is what it could pass on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from short_runs import SHORT, built

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.evaluation import Asking, evaluate_on
from opdkit.tasks import ProblemSource
from opdkit.teachers import PrivilegedTeacher
from opdkit.training.session import close_session, open_session

PLAIN = "plain"
STUDENTS = ("embedded", "embedded_hint")
"""Options of `model=`."""
TOLD = ("told_answer", "told_solution", "told_demonstration", "told_sibling", "told_system")
"""Options of `teacher=`."""


@dataclass(frozen=True)
class Retold:
    """The problems of a source with a teacher's prompt."""

    source: ProblemSource
    teacher: PrivilegedTeacher

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    def load(self) -> Sequence[Problem]:
        """The source's problems as the teacher would see them."""
        return [self._retold(problem) for problem in self.source.load()]

    def grade(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Grade]:
        """The source's verdicts."""
        return self.source.grade(pairs)

    def _retold(self, problem: Problem) -> Problem:
        sibling = problem.text("solution") or ""
        shown = self.teacher.messages(replace(problem, context={**problem.context, "sibling": sibling}))
        assert shown is not None  # chain_sum has all fields
        return replace(problem, messages=shown)


def measure(root: Path, student: str) -> dict[str, float]:
    """pass@1 by prompt."""
    experiment = built([*SHORT, "method=opd", f"model={student}"])
    session = open_session(experiment, None)
    opened, task = session.policy.model, session.tasks[""].settings
    found: dict[str, float] = {}
    for name in (PLAIN, *TOLD):
        benchmark: Any = experiment.benchmark
        if name != PLAIN:
            teacher = built([f"teacher={name}"]).teacher
            assert isinstance(teacher, PrivilegedTeacher)
            benchmark = replace(benchmark, source=Retold(benchmark.source, teacher))
        asking = Asking(
            engine=task.rollout.open(opened),
            renderer=opened,
            seed=experiment.seed,
            folder=root / "told" / student / name,
            max_prompt_tokens=1024,
            progress=lambda text: None,
        )
        found[name] = evaluate_on(asking, benchmark)["pass@1"]
        print(f"{student}, {name}: {found[name]:.3f}", flush=True)
    session.close()
    close_session()
    return found


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    root: Path = parser.parse_args().root
    found = {student: measure(root, student) for student in STUDENTS}
    (root / "told.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
