"""The control study's parts against their definitions, and short runs as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from opdkit.console.terminal import terminal_reporter
from opdkit.errors import UserError
from opdkit.functional.estimators import reward_to_go
from opdkit.study.control import ControlStudy
from opdkit.study.control.findings import Results, claims, tables
from opdkit.study.control.policy import Policies, initial, normal_noise, walk
from opdkit.study.control.settings import TASKS, Body, Episode, Learning
from opdkit.study.control.students import Distillation, leave_out_non_finite, micro_batch_variance
from opdkit.study.control.teachers import rewards, train_teachers
from opdkit.study.workshop import Workshop

BODY = Body(8, "tanh", 0.1, 1.0)
EPISODE = Episode(6, 8, 4)
SEEDS = [42, 43]
STUDY = ControlStudy(
    gammas=[0.0, 0.5, 1.0], seeds=SEEDS, iterations=50, trajectories=8, micro_batches=4, steps=6, hidden=8,
    activation="tanh", std_min=0.1, std_max=1.0, optimizer="adam", lr=1e-3, teacher_iterations=3,
    teacher_optimizer="adam", teacher_lr=3e-3, effort=4.0, success_radius=0.5, evaluation_trajectories=16,
)  # fmt: skip


def quiet(step: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def teachers() -> Policies:
    return train_teachers(BODY, SEEDS, EPISODE, Learning(3, "adam", 3e-3), 4.0, quiet)


def distillation(teachers: Policies, **change: object) -> Distillation:
    whole = Distillation(teachers, SEEDS, [0.0, 0.5, 1.0], EPISODE, Learning(4, "adam", 1e-3))
    return replace(whole, **change)  # type: ignore[arg-type]


def network(policies: Policies, run: int) -> torch.nn.Sequential:
    """Policy `run` as an ordinary torch module."""
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(policies.weights, policies.biases, strict=True):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[2])
        linear.weight.data, linear.bias.data = weight.detach()[run].T.clone(), bias.detach()[run, 0].clone()
        layers += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def log_prob_of(module: torch.nn.Module, observation: Tensor, move: Tensor) -> Tensor:
    mean, raw = module(observation).unbind(-1)
    return Normal(mean, 0.1 + 0.9 * torch.sigmoid(raw)).log_prob(move)


def test_stacked_policies_are_ordinary_ones() -> None:
    policies = initial(BODY, [1, 2, 3], "student")
    observation = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0))
    move = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    ours = policies.log_prob(policies.output(policies.hidden(observation)), move)
    theirs = torch.stack([log_prob_of(network(policies, r), observation[r], move[r]) for r in range(3)])
    torch.testing.assert_close(ours, theirs)
    assert BODY.parameters == sum(t[0].numel() for t in policies.tensors)
    assert Body(60, "tanh", 0.1, 1.0).parameters == 4022


def test_a_walk_adds_its_moves() -> None:
    policies = initial(BODY, [1, 2], "student")
    walked = walk(policies, TASKS, normal_noise([1, 2], "x", 0, 4, 6))
    torch.testing.assert_close(walked.position[..., 1:], walked.position[..., :1] + walked.move.cumsum(2))
    assert walked.position[:, 0, 0].tolist() == [2.0, -2.0]
    assert (walked.observation[0, ..., 0] == -1.0).all()
    torch.testing.assert_close(walked.observation[..., 1], walked.position[..., :-1])
    torch.testing.assert_close(walked.observation[0, 0, :, 2], torch.arange(6) / 6)


def test_rewards() -> None:
    walked = walk(initial(BODY, [1, 2], "student"), TASKS, normal_noise([1, 2], "x", 0, 4, 6))
    found = rewards(walked, TASKS, 2.0)
    one = -abs(float(walked.position[1, 3, 5]) - 3.0) - 2.0 * float(walked.move[1, 3, 4]) ** 2
    assert float(found[1, 3, 4]) == pytest.approx(one, rel=1e-5)


def test_teachers_learn_their_tasks() -> None:
    """Some iterations bring the walk nearer to the goal, for both tasks and every seed."""
    trained = train_teachers(BODY, SEEDS, Episode(8, 32, 2), Learning(80, "adam", 1e-2), 1.0, quiet)
    tasks = [task for task in TASKS for _ in SEEDS]
    last = walk(trained, tasks, normal_noise(SEEDS, "x", 0, 32, 8).repeat(2, 1, 1)).position[..., -1]
    goal = torch.tensor([task.goal for task in tasks])[:, None]
    assert ((last - goal).abs().mean(1) < 2.0).all()


def test_variance_is_that_of_the_output_layers_gradients(teachers: Policies) -> None:
    """Against autograd of an ordinary network, one backward pass a micro-batch, for every gamma."""
    whole = distillation(teachers)
    students = initial(BODY, SEEDS, "student").taken(torch.arange(2).repeat(3)).trained()
    batch = whole._batch(students, TASKS[0], 1)
    noise = normal_noise(SEEDS, "student left", 1, EPISODE.trajectories, EPISODE.steps)
    walked = walk(students, [TASKS[0]] * 6, noise.repeat(3, 1, 1))
    for run, gamma in [(0, 0.0), (3, 0.5), (5, 1.0)]:
        module, teacher = network(students, run), network(teachers, run % 2)
        gradients = []
        for part in range(4):
            rows = slice(2 * part, 2 * part + 2)
            seen, move = walked.observation[run, rows], walked.move[run, rows]
            log_pi = log_prob_of(module, seen, move)
            cost = reward_to_go((log_pi - log_prob_of(teacher, seen, move)).detach(), gamma)
            last = module[-1]
            pieces = torch.autograd.grad((cost * log_pi).sum(1).mean(), [last.weight, last.bias])
            gradients.append(torch.cat([piece.flatten() for piece in pieces]).double())
        stacked = torch.stack(gradients)
        expected = (stacked - stacked.mean(0)).square().sum(1).mean()
        ours = micro_batch_variance(batch.output_gradient(reward_to_go(batch.ratio, gamma)), 4)[run]
        assert float(ours) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("place", [0, 1])
def test_each_task_has_its_own_teacher(teachers: Policies, place: int) -> None:
    whole, task = distillation(teachers), TASKS[place]
    students = initial(BODY, SEEDS, "student").taken(torch.arange(2).repeat(3)).trained()
    ratio = whole._batch(students, task, 2).ratio
    noise = normal_noise(SEEDS, f"student {task.name}", 2, EPISODE.trajectories, EPISODE.steps)
    walked = walk(students, [task] * 6, noise.repeat(3, 1, 1))
    for run in (1, 4):
        seen, move = walked.observation[run], walked.move[run]
        log_q = log_prob_of(network(teachers, 2 * place + run % 2), seen, move)
        torch.testing.assert_close(ratio[run], (log_prob_of(network(students, run), seen, move) - log_q).detach())


def test_left_is_learnt_on_odd_iterations(teachers: Policies) -> None:
    whole = distillation(teachers, gammas=[0.0, 1.0])
    students = initial(BODY, SEEDS, "student").taken(torch.arange(2).repeat(2)).trained()
    batch = whole._batch(students, TASKS[0], 1)
    expected = micro_batch_variance(batch.output_gradient(batch.ratio), 4)[:2]
    torch.testing.assert_close(whole.run(quiet)[1]["variance"][0, 0], expected)


def test_micro_batch_variance_by_hand() -> None:
    gradient = torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])
    assert micro_batch_variance(gradient, 2).tolist() == [4.0]  # means 2 and 6
    assert micro_batch_variance(gradient, 4).tolist() == [5.0]


def test_stacked_students_learn_as_they_would_alone(teachers: Policies) -> None:
    together, numbers = distillation(teachers).run(quiet)
    alone = replace(teachers.taken(torch.tensor([1, 3])))
    single, own = distillation(alone, seeds=[43], gammas=[0.0, 1.0]).run(quiet)
    for ours, theirs in zip(together.tensors, single.tensors, strict=True):
        torch.testing.assert_close(ours[[1, 5]], theirs, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(numbers["variance"][:, [0, 2], 1], own["variance"][:, :, 0], rtol=1e-3, atol=1e-9)


def test_a_seed_begins_alike_at_every_gamma(teachers: Policies) -> None:
    """At iteration 1 only the estimator differs, so a student's own variance is the one on the same rollouts."""
    students, numbers = distillation(teachers).run(quiet)
    torch.testing.assert_close(numbers["variance"][0], numbers["same_policy"][0], rtol=1e-5, atol=0.0)
    assert (numbers["variance"][0, 0] != numbers["variance"][0, 2]).all()
    assert not torch.equal(students.weights[0][0], students.weights[0][4])


def test_deterministic_by_seed(teachers: Policies) -> None:
    first, second = (distillation(teachers).run(quiet)[1]["variance"] for _ in range(2))
    assert torch.equal(first, second)
    assert (first[:, :, 0] != first[:, :, 1]).any()


def test_students_follow_their_teachers(teachers: Policies) -> None:
    """The divergence on the student's own walks falls: the sign, once and for all."""
    whole = distillation(teachers, gammas=[0.0, 1.0], learning=Learning(200, "adam", 3e-3), episode=Episode(6, 32, 4))
    before = initial(BODY, SEEDS, "student").taken(torch.arange(2).repeat(2)).trained()
    after, _ = whole.run(quiet)
    for task in TASKS:
        first, last = (whole._batch(students, task, 10_000).ratio.mean((1, 2)) for students in (before, after))
        assert (last[:2] < 0.5 * first[:2]).all()


def test_a_gradient_that_is_not_finite_is_left_out() -> None:
    policies = initial(BODY, [1, 2], "student").trained()
    for tensor in policies.tensors:
        tensor.grad = torch.ones_like(tensor)
    grad = policies.weights[1].grad
    assert grad is not None
    grad[1, 0, 0] = float("nan")
    assert leave_out_non_finite(policies).tolist() == [0, 1]
    for tensor in policies.tensors:
        assert tensor.grad is not None
        assert (tensor.grad[0] == 1.0).all()
        assert (tensor.grad[1] == 0.0).all()


def pretended(ratio: float, ends: dict[float, float]) -> Results:
    """Students whose variance is 10^ratio times gamma = 0's, with episodes that end so far from the goal."""
    gammas = [0.0, 0.75, 1.0]
    jitter = torch.tensor([[0.01, 0.0, -0.01]])
    variance = 10 ** (torch.tensor([0.0, ratio, ratio])[:, None] + jitter).double().expand(40, 3, 3)
    goals = torch.tensor([task.goal for task in TASKS])
    student = torch.stack([goals + ends[gamma] for gamma in gammas], 1)[..., None, None, None].expand(2, 3, 3, 4, 5)
    teacher = goals[:, None, None, None, None].expand(2, 1, 3, 4, 5)
    numbers = {"variance": variance, "same_policy": variance, "student_positions": student}
    numbers |= {"ends": student[None, ..., 0].expand(4, 2, 3, 3, 4)}
    numbers |= {"teacher_positions": teacher, "skipped": torch.zeros(3, 3, dtype=torch.int64)}
    return Results(gammas, [1, 2, 3], 0.5, numbers)


@pytest.mark.parametrize(
    ("ratio", "ends", "verdicts"),
    [
        (1.5, {0.0: 0.1, 0.75: 0.1, 1.0: 3.0}, ["holds", "reproduced", "reproduced", "reproduced", "holds"]),
        (0.5, {0.0: 0.1, 0.75: 0.1, 1.0: 0.1}, ["holds", "not reproduced", "reproduced", "not reproduced", "holds"]),
        (-0.5, {0.0: 3.0, 0.75: 0.1, 1.0: 0.1}, ["holds"] + 3 * ["not reproduced"] + ["fails"]),
    ],
)
def test_verdicts_follow_the_numbers(ratio: float, ends: dict[float, float], verdicts: list[str]) -> None:
    assert [claim.verdict for claim in claims(pretended(ratio, ends))] == verdicts


def test_students_that_break_are_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    """No number where there is none, and no crash: a diverged seed loses its claims, not the study."""
    results = pretended(1.5, {0.0: 0.1, 0.75: 0.1, 1.0: 3.0})
    variance, student = results.numbers["variance"].clone(), results.numbers["student_positions"].clone()
    variance[:, 2, 0], student[:, 2, 0] = float("inf"), float("nan")
    broken = replace(results, numbers={**results.numbers, "variance": variance, "student_positions": student})
    found = claims(broken)
    assert found[1].verdict == "partly"  # gamma = 0.75 still shows
    assert "not finite" in found[1].measured
    assert found[3].verdict == "reproduced"  # an episode without an end has not ended at the goal
    shown = tables(broken)
    assert "not finite" in shown["success"].markdown()
    pytest.importorskip("matplotlib")
    from opdkit.study.control.figures import draw

    for name, picture in draw(broken).items():
        picture.figure.savefig(tmp_path / f"{name}.png")
    nothing = {**broken.numbers, "variance": torch.zeros_like(variance)}
    nothing |= {"same_policy": nothing["variance"], "student_positions": torch.full_like(student, float("nan"))}
    for name, picture in draw(replace(results, numbers=nothing)).items():
        picture.figure.savefig(tmp_path / f"{name}.png")


def test_one_seed_shows_nothing_for_sure() -> None:
    results = pretended(1.5, {0.0: 0.1, 0.75: 0.1, 1.0: 3.0})
    one = {name: value[..., :1] for name, value in results.numbers.items() if value.dim() == 3}
    one["skipped"] = results.numbers["skipped"][:, :1]
    walks = {name: value[:, :, :1] for name, value in results.numbers.items() if name.endswith("positions")}
    ends = {"ends": results.numbers["ends"][:, :, :, :1]}
    alone = replace(results, seeds=[1], numbers={**one, **walks, **ends})
    assert [claim.verdict for claim in claims(alone)] == ["holds", "not reproduced", "reproduced", "partly", "fails"]


def test_iterations_to_success_last() -> None:
    results = pretended(1.0, {0.0: 0.1, 0.75: 0.1, 1.0: 3.0})
    assert results.iterations_to_success(0.0) == [50.0] * 3
    assert results.iterations_to_success(1.0) == [float("inf")] * 3
    ends = results.numbers["ends"].clone()
    ends[1, 0, 0, 2] += 9.0  # the third seed loses the left task at the second look
    ends[0, 1, 0, 0] += 9.0
    again = replace(results, numbers={**results.numbers, "ends": ends})
    assert again.iterations_to_success(0.0) == [100.0, 50.0, 150.0]


def test_teachers_that_fail_are_told() -> None:
    results = pretended(1.5, {0.0: 0.1, 0.75: 0.1, 1.0: 3.0})
    lost = {**results.numbers, "teacher_positions": results.numbers["teacher_positions"] + 1.0}
    assert claims(replace(results, numbers=lost))[0].verdict == "fails"


def test_the_whole_study(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with terminal_reporter() as reporter:
        outcome = STUDY.work_out(Workshop(tmp_path, reporter))
        again = STUDY.work_out(Workshop(tmp_path, reporter))
    assert outcome.tables == again.tables
    assert len(outcome.claims) == 5
    assert len(outcome.tables["success"].rows) == 6
    assert len(outcome.tables["variance_by_iteration"].rows) == 50 * 3 * 2
    assert set(outcome.pictures) == {"variance", "same_rollouts", "visits", "success", "learning"}
    page = outcome.page("opdkit study")
    assert "activation tanh" in page
    assert "lr 0.001" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gammas": [0.0, 1.01]}, "study.gammas=1.01: each must be between 0 and 1"),
        ({"gammas": [0.0, 0.5]}, "a list that includes 0 and 1"),
        ({"seeds": []}, "must contain at least one value"),
        ({"micro_batches": 3}, "study.micro_batches=3: must be a divisor of study.trajectories=8"),
        ({"micro_batches": 1}, "at least 2"),
        ({"iterations": 3}, "at least 4"),
        ({"steps": 0}, "study.steps=0: must be at least 1"),
        ({"std_max": 0.05}, "study.std_max=0.05: must be finite, at least study.std_min"),
        ({"lr": float("inf")}, "study.lr=inf"),
        ({"effort": -1.0}, "study.effort=-1.0"),
        ({"activation": "gelu"}, "study.activation=gelu: must be tanh or relu"),
    ],
)
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(STUDY, **change)
