"""What must change nothing: micro-batches, the order of rows, padding, and what stands at uncounted tokens."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from opdkit.data.loss import Aggregation, Objective, TokenBatch
from opdkit.data.scores import Scores
from opdkit.functional.surrogates import Score
from opdkit.heads import Head, sampled_log_prob, support_logits, vocabulary_stats
from opdkit.objectives import SequenceMean, SequenceSum, TokenMean
from tests.objectives.presets import sampled_token, top_k

B, T, D, V, K = 4, 5, 3, 17, 6
OBJECTIVES = (
    top_k(k=K),
    top_k(k=K, support="union"),
    sampled_token(surrogate=Score()),
    sampled_token(discount=0.9, clip_log_ratio=2.0, reward_weight=0.3),
)
RULES = (TokenMean(), SequenceMean(), SequenceSum(constant=float(T)))


@dataclass(frozen=True)
class World:
    """A batch of hidden states on both sides, with ragged responses and one response that does not count."""

    student: Tensor
    teacher: Tensor
    tokens: Tensor
    mask: Tensor
    old: Tensor
    reward: Tensor

    def take(self, rows: Tensor | slice) -> World:
        return World(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def pad(self, columns: int, junk: float) -> World:
        """More columns on the right, filled with junk."""
        wide = torch.full((len(self.mask), columns, D), junk, dtype=torch.float64)
        flat = torch.full((len(self.mask), columns), junk, dtype=torch.float64)
        return World(
            torch.cat([self.student, wide], 1),
            torch.cat([self.teacher, wide], 1),
            torch.nn.functional.pad(self.tokens, (0, columns)),
            torch.nn.functional.pad(self.mask, (0, columns)),
            torch.cat([self.old, flat], 1),
            self.reward,
        )


@pytest.fixture
def world() -> World:
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, B, T, D, dtype=torch.float64, generator=source)
    lengths = torch.tensor([5, 2, 4, 0])
    mask = torch.arange(T) < lengths[:, None]
    mask[0, 1] = False  # a hole, as masking leaves it
    tokens = torch.randint(0, V, (B, T), generator=source)
    old = -2 * torch.rand(B, T, dtype=torch.float64, generator=source)
    return World(*hidden.unbind(), tokens, mask, old, torch.tensor([1.0, 0.0, 1.0, 0.0]))


@pytest.fixture
def weights() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(2, V, D, dtype=torch.float64, generator=source).unbind()


def _spread(values: Tensor, mask: Tensor, junk: float) -> Tensor:
    return values.new_full((*mask.shape, *values.shape[1:]), junk).index_put((mask,), values)


def _scores(world: World, weights: tuple[Tensor, Tensor], junk: float) -> tuple[Scores, Scores]:
    mask, heads = world.mask, [Head(weight) for weight in weights]
    student, teacher = world.student[mask], world.teacher[mask]
    found = vocabulary_stats(teacher, heads[1], K).ids
    assert found is not None
    sides = []
    for hidden, head in zip((student, teacher), heads, strict=True):
        log_prob = sampled_log_prob(hidden, head, world.tokens[mask])
        logits = support_logits(hidden, head, found)
        sides.append(Scores(_spread(log_prob, mask, junk), support_logits=_spread(logits, mask, junk)))
    return sides[0], sides[1]


def _gradient(
    world: World,
    weights: tuple[Tensor, Tensor],
    objective: Objective,
    rule: Aggregation,
    splits: list[slice],
    junk: float = 0.0,
) -> tuple[float, Tensor]:
    weight = weights[0].clone().requires_grad_()
    denominator, loss = rule.denominator(world.mask), 0.0
    for rows in splits:
        part = world.take(rows)
        student, teacher = _scores(part, (weight, weights[1]), junk)
        batch = TokenBatch(part.mask, part.old, part.reward)
        value = objective(student, teacher, batch).value * rule.weights(part.mask, denominator)
        value.sum().backward()
        loss += float(value.detach().sum())
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    return loss, weight.grad


WHOLE = [slice(0, B)]


@pytest.fixture(params=RULES, ids=lambda rule: type(rule).__name__)
def rule(request: pytest.FixtureRequest) -> Aggregation:
    return request.param


@pytest.fixture(params=OBJECTIVES, ids=["topk", "union", "score", "ppo"])
def objective(request: pytest.FixtureRequest) -> Objective:
    return request.param


@pytest.mark.parametrize("splits", [[1, 2, 3], [2], [3]], ids=str)
def test_micro_batches_equal_the_full_batch(world, weights, objective, rule, splits):
    edges = [0, *splits, B]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    torch.testing.assert_close(
        _gradient(world, weights, objective, rule, parts), _gradient(world, weights, objective, rule, WHOLE),
        rtol=1e-6, atol=1e-9,  # the weights are float32
    )  # fmt: skip


def test_the_order_of_rows_changes_nothing(world, weights, objective, rule):
    shuffled = world.take(torch.tensor([2, 0, 3, 1]))
    torch.testing.assert_close(
        _gradient(shuffled, weights, objective, rule, WHOLE), _gradient(world, weights, objective, rule, WHOLE)
    )


@pytest.mark.parametrize("junk", [0.0, 1e9, float("nan"), float("inf")])
def test_padding_and_what_it_holds_change_nothing(world, weights, objective, rule, junk):
    torch.testing.assert_close(
        _gradient(world.pad(3, junk), weights, objective, rule, WHOLE, junk),
        _gradient(world, weights, objective, rule, WHOLE),
    )


def test_a_masked_token_leaves_loss_and_denominator(world, weights):
    """What the first-occurrence rule does to a mask (method F8), done by hand."""
    masked = world.mask.clone()
    masked[2, 3] = False  # the last counted token of row 2
    shorter = replace(world, mask=masked)
    whole = _gradient(shorter, weights, top_k(k=K), TokenMean(), WHOLE)
    assert TokenMean().denominator(masked) == TokenMean().denominator(world.mask) - 1
    everything = _gradient(world, weights, top_k(k=K), TokenMean(), WHOLE)
    single = torch.zeros_like(masked)
    single[2, 3] = True
    alone = _gradient(replace(world, mask=single), weights, top_k(k=K), TokenMean(), WHOLE)
    total = float(world.mask.sum())
    torch.testing.assert_close(everything[0] * total, whole[0] * (total - 1) + alone[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(everything[1] * total, whole[1] * (total - 1) + alone[1], rtol=1e-6, atol=1e-9)


def test_the_rules_differ_on_a_ragged_batch(world, weights):
    losses = [_gradient(world, weights, top_k(k=K), rule, WHOLE)[0] for rule in RULES]
    assert len({round(loss, 6) for loss in losses}) == len(RULES)


def test_equal_lengths_make_the_two_means_equal(world, weights):
    level = replace(world, mask=torch.ones_like(world.mask))
    torch.testing.assert_close(
        _gradient(level, weights, top_k(k=K), TokenMean(), WHOLE),
        _gradient(level, weights, top_k(k=K), SequenceMean(), WHOLE),
    )
