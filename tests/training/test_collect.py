"""What a collector hands to the updates: which tokens count, and the log-probs that ratios are taken against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Author, Rollout
from opdkit.diagnostics import TokenMeans, Watched
from opdkit.errors import UserError
from opdkit.generation import Completion, Turn, pack
from opdkit.masking import Vocabularies
from opdkit.models import Request
from opdkit.objectives import TokenDivergence, TokenMean
from opdkit.rewards import Group, OpenReward
from opdkit.teachers import LocalTeacher, TeacherContext
from opdkit.training.collect import CollectSettings, RolloutCollector
from opdkit.training.optimizer import AdamW
from opdkit.training.policy import Policy
from opdkit.training.problems import EpochSampler
from opdkit.training.rewarding import rewarded
from opdkit.training.sources import RolloutBatch, StepSize, Writer
from opdkit.training.term import BoundTerm
from opdkit.training.update import ScoredBatch, Updater
from opdkit.world.world import World
from tests.tiny import save_pair, tiny_model

PROBLEMS = [Problem(f"p{i}", (Message("user", "go"),), "") for i in range(2)]


@dataclass
class Episodes:
    """Rows of two turns with an environment's words between them."""

    rollout: Rollout
    sampler: EpochSampler

    def take(self, step: int, writers: Sequence[Writer], entropy: bool = True) -> dict[Author, RolloutBatch]:
        count = len(self.rollout.tokens)
        groups = (Group(PROBLEMS[0], ("",) * count),)
        batch = RolloutBatch(
            self.rollout, ("",) * count, groups, torch.zeros(count, dtype=torch.long), (1,) * count, {}
        )
        return {self.rollout.author: batch}

    def restarted(self, size: StepSize, seed: int) -> Episodes:
        return self

    def close(self) -> None: ...


class Everything:
    """A masking rule that forgets the tokens which nobody sampled."""

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        return torch.ones_like(rollout.sampled_mask)


class Rewards:
    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        return [[Grade.of(True) for _ in group.responses] for group in groups]

    def metrics(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None: ...


class NoReward:
    def open(self, context: object) -> OpenReward:
        return Rewards()


def episodes(policy: Policy) -> Rollout:
    """Two rows, the second shorter, with the log-probs of the policy that wrote them."""
    long = (
        Turn((1, 2), Completion((10, 11, 12), None, None, "stop")),
        Turn((1, 2, 10, 11, 12, 30, 31), Completion((13, 14), None, None, "stop")),
    )
    short = (Turn((3,), Completion((15, 16), None, None, "stop")),)
    rollout = pack(policy.model, [long, short], PROBLEMS)
    with torch.no_grad():
        scores = policy.score(rollout, rollout.sampled_mask, Request(sampled=True, stats_k=1))
    assert scores.sampled_log_prob is not None
    assert scores.entropy is not None
    return replace(rollout, behaviour_log_prob=scores.sampled_log_prob, entropy=scores.entropy, scored=True)


@pytest.fixture
def policy() -> Policy:
    model = tiny_model(0)
    return Policy.of(model, AdamW(lr=1e-2), Accelerator(cpu=True), 1.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    save_pair(folder)
    return folder


def collect(policy: Policy, pair: Path, rollout: Rollout, settings: CollectSettings) -> ScoredBatch:
    """One step of sampled-token distillation under PPO ratios, on rows that are there."""
    spec, author = LocalTeacher(str(pair / "teacher")), rollout.author
    teacher = spec.open(TeacherContext("cpu", policy.model, 1.0, MicroBatch(4)))
    objective = TokenDivergence(support="sampled", estimator="score")
    term = BoundTerm("term", objective, author, spec, NoReward(), Everything(), TokenMean(), 1.0, 1)
    source = Episodes(rollout, EpochSampler(2, 0))
    writers: dict[Author, Writer] = {author: Writer(author, None)}
    collector = RolloutCollector("", settings, policy, source, writers, (term,), {"term": teacher}, {"term": Rewards()})
    return collector.collect(0)[0].batch


@pytest.fixture
def collected(policy: Policy, pair: Path, request: pytest.FixtureRequest) -> ScoredBatch:
    """The parameter is the number of updates, or "stale": one update, of weights that may be newer than those that
    wrote."""
    stale = request.param == "stale"
    settings = CollectSettings(0, None, 1 if stale else request.param, 1, MicroBatch(4), stale=stale)
    return collect(policy, pair, episodes(policy), settings)


@pytest.mark.parametrize("author", ["student", "teacher"])
def test_what_another_author_thought_of_its_tokens_is_not_taken_for_the_students(
    author: Author, policy: Policy, pair: Path
) -> None:
    own = episodes(policy)
    told = replace(own, author=author, behaviour_log_prob=own.behaviour_log_prob - 3.0, entropy=own.entropy + 5.0)
    found = collect(policy, pair, told, CollectSettings(0, None, 1, 1, MicroBatch(4), stats_every=1)).rollout
    expected = told if author == "student" else own
    where = own.sampled_mask
    torch.testing.assert_close(found.behaviour_log_prob[where], expected.behaviour_log_prob[where])
    assert found.entropy is not None
    assert expected.entropy is not None
    torch.testing.assert_close(found.entropy[where], expected.entropy[where])


@pytest.mark.parametrize("collected", [2], indirect=True)
def test_tokens_that_the_policy_did_not_sample_never_count(collected: ScoredBatch) -> None:
    assert collected.loss_mask.tolist() == [[True] * 3 + [False] * 2 + [True] * 2, [True] * 2 + [False] * 5]


@pytest.mark.parametrize(("collected", "kept"), [(1, False), (2, True), ("stale", True)], indirect=["collected"])
def test_ratios_of_a_later_update_are_taken_against_the_policy_that_wrote(
    collected: ScoredBatch, kept: bool, policy: Policy
) -> None:
    assert (collected.old_log_prob is not None) == kept
    updater = Updater(policy, World(), None, MicroBatch(4), Watched())
    seen: list[Tensor] = []

    class Watching(TokenMeans):
        def add(self, metrics: dict[str, Tensor], mask: Tensor) -> None:
            if "importance_ratio" in metrics:
                seen.append(metrics["importance_ratio"][mask])

    updater.step([collected], 1e-2, Watching())
    updater.step([collected], 1e-2, Watching())
    first, second = seen
    torch.testing.assert_close(first, torch.ones_like(first), rtol=1e-5, atol=0)
    if kept:
        assert float((second - 1).abs().max()) > 1e-2
    else:
        torch.testing.assert_close(second, torch.ones_like(second), rtol=1e-5, atol=0)


@pytest.mark.parametrize("collected", [1], indirect=True)
def test_gradients_are_scaled_down_to_the_norm_that_is_allowed(collected: ScoredBatch, policy: Policy) -> None:
    """By plain gradient descent, whose step is as long as the gradient."""
    parameters = list(policy.model.module.parameters())
    descent = replace(policy, optimizer=torch.optim.SGD(parameters, lr=1.0))  # pyright: ignore[reportArgumentType]
    before = torch.cat([p.detach().flatten() for p in parameters])
    updater = Updater(descent, World(), 0.01, MicroBatch(4), Watched())
    norm = updater.step([collected], 1e-2, TokenMeans())["grad_norm"]
    moved = float((torch.cat([p.detach().flatten() for p in parameters]) - before).norm())
    assert norm > 0.02
    assert moved == pytest.approx(1e-2 * 0.01, rel=1e-2)


@pytest.mark.parametrize("collected", [1], indirect=True)
def test_a_term_of_several_tasks_has_one_denominator(collected: ScoredBatch, policy: Policy) -> None:
    updater = Updater(policy, World(), None, MicroBatch(4), Watched())
    assert updater.denominators([collected, collected.rows(0, 1)]) == {"term": 7.0 + 5.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0.5, 0.5]], "gives a float where a Grade belongs"),
        ([[Grade.of(True)]], r"gives \[1\] grades for groups of \[2\]"),
    ],
)
def test_a_reward_that_gives_something_else_is_told_in_one_line(given: list[list[Any]], message: str) -> None:
    class Wrong(Rewards):
        def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
            return given

    rollout = pack(tiny_model(0), [(Turn((1,), Completion((5,), None, None, "stop")),)] * 2, PROBLEMS)
    batch = RolloutBatch(rollout, ("", ""), (Group(PROBLEMS[0], ("", "")),), torch.zeros(2).long(), (1, 1), {})
    with pytest.raises(UserError, match=message):
        rewarded(batch, Wrong(), 0)
