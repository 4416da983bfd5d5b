"""Derives tables and verdicts from the students' numbers; thresholds were set before the first full run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from opdkit.intervals import Estimate, t_interval
from opdkit.study.control.settings import TASKS
from opdkit.study.control.students import EVALUATE_EVERY, SAME_POLICY_EVERY
from opdkit.study.outcome import Cell, Claim, Table, Verdict

HIGH_GAMMAS = (0.75, 1.0)
ONE_ORDER = 1.0
REACHES = 0.9
DRIFTS = 0.2


@dataclass(frozen=True)
class Results:
    """numbers, by name: variance f64[iterations, gammas, seeds]; same_policy f64[measured, gammas, seeds]; skipped
    i64[gammas, seeds]; ends f32[evaluations, tasks, gammas, seeds, B]; student_positions f32[tasks, gammas, seeds, N,
    T + 1]; teacher_positions f32[tasks, 1, seeds, N, T + 1]."""

    gammas: Sequence[float]
    seeds: Sequence[int]
    success_radius: float
    numbers: Mapping[str, Tensor]

    def column(self, gamma: float) -> int:
        return list(self.gammas).index(gamma)

    def variance(self, task: int) -> Tensor:
        """log10 of each student's own variance at the iterations of a task, f64[iterations / 2, gammas, seeds]."""
        return self.numbers["variance"][task :: len(TASKS)].log10()

    def same_policy(self, task: int) -> Tensor:
        """log10 of every gamma's variance on the gamma = 0 student's rollouts, f64[measured, gammas, seeds]."""
        return self.numbers["same_policy"][task :: len(TASKS)].log10()

    def gap(self, values: Tensor, gamma: float) -> list[float]:
        """log10 Var g_gamma - log10 Var g_0, the mean over the second half of training, one per seed."""
        late = values[len(values) // 2 :]
        return (late[:, self.column(gamma)] - late[:, self.column(0.0)]).mean(0).tolist()

    def distance(self, who: str) -> Tensor:
        """|x - goal| at the end of each evaluation episode; who: student or teacher. f32[tasks, gammas, seeds, N]."""
        return self._from_goal(self.numbers[f"{who}_positions"][..., -1])

    def _from_goal(self, ends: Tensor) -> Tensor:
        goals = ends.new_tensor([task.goal for task in TASKS])
        return (ends - goals[:, None, None, None]).abs()

    def success(self, who: str) -> Tensor:
        """Share of episodes that end within the radius, f32[tasks, gammas, seeds]."""
        return (self.distance(who) <= self.success_radius).float().mean(3)

    def success_while_learning(self) -> Tensor:
        """The same after every 50 iterations, f32[evaluations, tasks, gammas, seeds]."""
        return (self._from_goal(self.numbers["ends"]) <= self.success_radius).float().mean(4)

    def iterations_to_success(self, gamma: float) -> list[float]:
        """Iterations until the success rate on both tasks stays at or above `REACHES`, one per seed; infinity
        if it never does."""
        reached = (self.success_while_learning()[:, :, self.column(gamma)] >= REACHES).all(1)  # [evaluations, seeds]
        lasting = reached.flip(0).cummin(0).values.sum(0)
        count = len(reached)
        return [(count - n + 1) * float(EVALUATE_EVERY) if n else math.inf for n in lasting.int().tolist()]


def claims(results: Results) -> list[Claim]:
    """Claims on the teachers' success, the paper's results, and the comparison on the same rollouts."""
    return [_teachers(results), _variance(results), _reaches(results), _drifts(results), _same_policy(results)]


def _teachers(results: Results) -> Claim:
    success = results.success("teacher")
    return Claim(
        "the teachers solve their own tasks (otherwise nothing below is meaningful)",
        f"each succeeds in at least {REACHES:.0%} of episodes",
        f"the worst of {success.numel()} in {float(success.min()):.1%}",
        "holds" if float(success.min()) >= REACHES else "fails",
    )


def _variance(results: Results) -> Claim:
    wanted = [gamma for gamma in HIGH_GAMMAS if gamma in results.gammas]
    gaps = {
        (task.name, gamma): t_interval(results.gap(results.variance(index), gamma))
        for index, task in enumerate(TASKS)
        for gamma in wanted
    }
    met = [gap.mean >= ONE_ORDER and gap.low > 0.0 for gap in gaps.values()]
    measured = "; ".join(f"{name}, γ = {gamma:g}: {gap.text()}" for (name, gamma), gap in gaps.items())
    return Claim(
        "gradient variance at γ = 0.75 and 1 stays one to several orders of magnitude above γ = 0",
        f"log10 of the ratio, mean over the second half of training, at least {ONE_ORDER:g} and its 95 % interval "
        "above 0, on both tasks and at both γ (partly: at some)",
        measured,
        _graded(met),
    )


def _graded(met: Sequence[bool]) -> Verdict:
    return "reproduced" if all(met) else ("partly" if any(met) else "not reproduced")


def _reaches(results: Results) -> Claim:
    success = results.success("student")[:, results.column(0.0)]
    values = {task.name: t_interval(success[index].tolist()) for index, task in enumerate(TASKS)}
    return Claim(
        "γ = 0 reaches both goals",
        f"mean success over seeds at least {REACHES:.0%} on each task (partly: on one)",
        "; ".join(f"{name}: {_percent(value)}" for name, value in values.items()),
        _graded([value.mean >= REACHES for value in values.values()]),
    )


def _percent(value: Estimate) -> str:
    return f"{100 * value.mean:.0f} %"


def _drifts(results: Results) -> Claim:
    success = results.success("student").mean(0)  # [gammas, seeds], both tasks together
    lost = success[results.column(0.0)] - success[results.column(1.0)]
    gap = t_interval(lost.tolist())
    large, sure = gap.mean >= DRIFTS, gap.low > 0.0
    distance = results.distance("student")[:, results.column(1.0)].mean().item()
    return Claim(
        "γ = 1 drifts",
        f"success (mean of both tasks) at least {DRIFTS:g} below γ = 0's, and the 95 % interval of the paired "
        "difference above 0 (partly: without the interval)",
        f"difference {gap.text()}; at γ = 1 episodes end {distance:.3g} from the goal on average",
        "reproduced" if large and sure else ("partly" if large else "not reproduced"),
    )


def _same_policy(results: Results) -> Claim:
    gaps = [t_interval(results.gap(results.same_policy(index), 1.0)) for index in range(len(TASKS))]
    measured = "; ".join(f"{task.name}: {gap.text()}" for task, gap in zip(TASKS, gaps, strict=True))
    return Claim(
        "added here: the excess comes from the estimator itself, not only from the policy it leads to",
        "log10 of Var g_1 over Var g_0 on the same rollouts of the γ = 0 student, mean over the second half of "
        "training: its 95 % interval above 0 on both tasks",
        measured,
        "holds" if all(gap.low > 0.0 for gap in gaps) else "fails",
    )


def tables(results: Results) -> dict[str, Table]:
    """Tables by file stem."""
    return {
        "success": _success(results),
        "speed": _speed(results),
        "variance_ratio": _ratios(results),
        "variance_by_iteration": _by_iteration(results),
    }


def _success(results: Results) -> Table:
    rows: list[list[Cell]] = []
    success, distance = results.success("student"), results.distance("student").mean(3)
    for column, gamma in enumerate(results.gammas):
        for index, task in enumerate(TASKS):
            by_seed = success[index, column].tolist()
            values = t_interval(by_seed)
            shown = ", ".join(f"{value:.2f}" for value in by_seed)
            skipped = int(results.numbers["skipped"][column].sum())
            rows.append([
                gamma, task.name, shown, values.clipped(0.0, 1.0).text(),
                t_interval(distance[index, column].tolist()).text(), skipped,
            ])  # fmt: skip
    seeds = ", ".join(map(str, results.seeds))
    columns = (
        "γ", "task", f"success by seed ({seeds})", "mean (95 %, within 0 to 1)", "final distance from the goal (95 %)",
        "skipped updates, both tasks",
    )  # fmt: skip
    return Table(f"Success: episodes that end within {results.success_radius:g} of the goal", columns, rows)


def _speed(results: Results) -> Table:
    rows: list[list[Cell]] = []
    for gamma in results.gammas:
        by_seed = results.iterations_to_success(gamma)
        shown = ", ".join("never" if math.isinf(value) else f"{value:.0f}" for value in by_seed)
        lasting = all(map(math.isfinite, by_seed))
        rows.append([gamma, shown, t_interval(by_seed).text(0) if lasting else "never, for some seed"])
    columns = ("γ", f"iterations by seed ({', '.join(map(str, results.seeds))})", "mean (95 %)")
    title = (
        f"Iterations until both tasks succeed in {REACHES:.0%} of episodes and stay there "
        f"(checked every {EVALUATE_EVERY})"
    )
    return Table(title, columns, rows)


def _ratios(results: Results) -> Table:
    rows: list[list[Cell]] = []
    for index, task in enumerate(TASKS):
        for gamma in results.gammas:
            own, same = results.variance(index), results.same_policy(index)
            rows.append([
                task.name,
                gamma,
                t_interval(results.gap(own, gamma)).text(),
                t_interval(results.gap(same, gamma)).text(),
            ])  # fmt: skip
    columns = ("task", "γ", "log10 ratio to γ = 0, own rollouts (95 %)", "the same, on the γ = 0 student's (95 %)")
    return Table("Gradient variance over the second half of training", columns, rows)


def _by_iteration(results: Results) -> Table:
    rows: list[list[Cell]] = []
    for index, task in enumerate(TASKS):
        values = results.numbers["variance"][index :: len(TASKS)]
        for step, by_gamma in enumerate(values.tolist()):
            iteration = 1 + index + step * len(TASKS)
            for gamma, by_seed in zip(results.gammas, by_gamma, strict=True):
                rows += [[iteration, task.name, gamma, seed, v] for seed, v in zip(results.seeds, by_seed, strict=True)]
    columns = ("iteration", "task", "γ", "seed", "variance (nats²)")
    return Table("Gradient variance of every iteration", columns, rows, shown=False)


def measured_iterations(results: Results, task: int) -> list[int]:
    """Iterations with a comparison of the gammas on the same rollouts."""
    count = len(results.numbers["same_policy"][task :: len(TASKS)])
    return [1 + task + SAME_POLICY_EVERY * i for i in range(count)]
