"""An objective called on logits is the objective of the trainer, which never sees logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import opdkit
from opdkit.config import location
from opdkit.data.loss import StepBatch, TokenBatch
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.heads import Head
from opdkit.models import Request
from opdkit.models.scorer import score_hidden
from opdkit.training.requests import before_request, student_request, teacher_request

ROWS, WIDTH, INNER, VOCABULARY = 3, 4, 6, 17
NEEDS_A_HEAD = {"gold", "uld", "vopd"}
NAMES = sorted({*location.options("objective", [location.conf_dir()])} - NEEDS_A_HEAD)


class Pair:
    """Two models as hidden states and heads, in float64, and what was sampled from the first."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        hidden = torch.randn(2, ROWS, WIDTH, INNER, dtype=torch.float64)
        self.hidden = (hidden[0].requires_grad_(), hidden[1])
        self.heads = tuple(Head(torch.randn(VOCABULARY, INNER, dtype=torch.float64)) for _ in range(2))
        self.mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=torch.bool)
        self.tokens = torch.randint(VOCABULARY, (ROWS, WIDTH))
        self.reward = torch.tensor([1.0, 0.0, 1.0])
        self.group = torch.tensor([0, 0, 1])

    def logits(self, side: int) -> Tensor:
        return self.hidden[side] @ self.heads[side].weight.T

    def scores(self, side: int, request: Request) -> Scores:
        place = tuple(self.mask.nonzero(as_tuple=True))
        return score_hidden(self.hidden[side][place], self.heads[side], self.tokens, place, request, 1.0)  # type: ignore[arg-type]


def by_the_trainer(loss: opdkit.LogitObjective, pair: Pair) -> Tensor:
    """The trainer's way: scores of hidden states, one request after the other."""
    objective = loss.objective
    needs = objective.needs
    first = before_request(needs, needs.advantage)
    with torch.no_grad():
        before = None if first is None else pair.scores(0, first)
        teacher = Scores() if needs.teacher is None else pair.scores(1, teacher_request(needs, before, 0))
        entropy = pair.scores(0, Request(stats_k=1)).entropy
    advantage = None
    if needs.advantage:
        assert before is not None
        step = StepBatch(pair.mask, before.sampled_log_prob, teacher.sampled_log_prob, pair.reward, pair.group)
        advantage = objective.advantage(step)  # type: ignore[attr-defined]
    batch = TokenBatch(pair.mask, None, pair.reward, pair.tokens, entropy, advantage)
    value = objective(pair.scores(0, student_request(needs, teacher, 0)), teacher, batch).value
    weights = loss.aggregation.weights(pair.mask, loss.aggregation.denominator(pair.mask))
    return (value * weights).sum()


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_those_of_the_trainer(name: str) -> None:
    pair, sized = Pair(), "select:k" in (location.conf_dir() / f"objective/{name}.yaml").read_text(encoding="utf-8")
    loss = opdkit.load_objective(name, aggregation="sequence_mean", **({"k": 5} if sized else {}))
    expected = by_the_trainer(loss, pair)
    (expected_gradient,) = torch.autograd.grad(expected, pair.hidden[0])
    teacher = pair.logits(1) if loss.objective.needs.teacher is not None else None
    value = loss(
        pair.logits(0), teacher, tokens=pair.tokens, mask=pair.mask, reward=pair.reward, group=pair.group
    )  # fmt: skip
    (gradient,) = torch.autograd.grad(value, pair.hidden[0])
    torch.testing.assert_close(value, expected, check_dtype=False, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", sorted(NEEDS_A_HEAD))
def test_what_needs_a_head_is_refused(name: str) -> None:
    logits, tokens = torch.zeros(1, 2, VOCABULARY), torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(UserError, match="needs hidden states and a head; logits are not enough"):
        opdkit.load_objective(name)(logits, logits, tokens=tokens)


def test_the_keys_of_the_objective_are_chosen_by_name() -> None:
    loss = opdkit.load_objective("topk", divergence="jsd", k=4, discount=0.5)
    assert type(loss.objective.divergence).__name__ == "JensenShannon"  # type: ignore[attr-defined]
    assert (loss.objective.k, loss.objective.discount) == (4, 0.5)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("topkk", {}, "topk"),
        ("topk", {"kk": 3}, "kk"),
        ("topk", {"k": 0}, "k=0"),
    ],
)
def test_a_wrong_choice_is_refused(name: str, keys: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        opdkit.load_objective(name, **keys)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("topk", {"student_logits": torch.zeros(2, 5)}, r"student_logits of shape \[2, 5\]: must be \[B, T, V\]"),
        ("topk", {"teacher_logits": None}, "teacher_logits: TokenDivergence as set needs it"),
        ("topk", {"teacher_logits": torch.zeros(2, 3, 6)}, r"teacher_logits of shape \[2, 3, 6\]: must be \[2, 3, 7\]"),
        ("topk", {"mask": torch.ones(2, 3)}, "torch.bool"),
        ("topk", {}, "k=32: more than the vocabulary of 7"),
        ("sampled", {}, r"tokens: .* of shape \[2, 3\]"),
        ("grpo", {"tokens": torch.zeros(2, 3, dtype=torch.long)}, r"reward: .* of shape \[2\]"),
    ],
)
def test_what_is_missing_or_of_another_shape_is_told(name: str, given: dict[str, Tensor], told: str) -> None:
    logits = {"student_logits": torch.zeros(2, 3, 7), "teacher_logits": torch.zeros(2, 3, 7)}
    with pytest.raises(UserError, match=told):
        opdkit.load_objective(name)(**(logits | given))  # type: ignore[arg-type]
