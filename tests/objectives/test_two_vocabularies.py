"""ULD and GOLD through a teacher of other tokens, against the formulas worked out from plain forward passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from opdkit.data.loss import Objective, TokenBatch
from opdkit.errors import UserError
from opdkit.functional.divergences import JensenShannon
from opdkit.models import Scorer
from opdkit.objectives import GeneralLogits, UniversalLogits, two_vocabularies
from opdkit.teachers import OpenTeacher
from opdkit.tokenization import align
from opdkit.training.requests import student_request, teacher_request
from tests.teachers.test_retokenized import STUDENT, TEMPERATURE, by_hand, opened, rollout_of, tables

Rows = list[tuple[list[int], Tensor, list[int], Tensor]]
"""Of each row: the student's ids and log-probs before each, and the teacher's."""
ROLLOUT = rollout_of(STUDENT)


def loss(objective: Objective, teacher: OpenTeacher, mask: Tensor) -> tuple[Tensor, Tensor]:
    """value f[B, T] with gradient, and the tokens that count."""
    scores = teacher.score(ROLLOUT, mask, teacher_request(objective.needs, None, 0))
    counted = mask if scores.scored is None else mask & scores.scored
    student = Scorer(STUDENT)(ROLLOUT, counted, student_request(objective.needs, scores, 0), TEMPERATURE)
    return objective(student, scores, TokenBatch(counted)).value, counted


def rows() -> Rows:
    found: Rows = []
    for problem, answer in zip(ROLLOUT.prompts.problems, ROLLOUT.tokens, strict=True):
        ids = answer[ROLLOUT.sampled_mask[len(found)]].tolist()
        before = STUDENT.render(problem.messages)
        logits = STUDENT.module(torch.tensor([before + ids])).logits[0, len(before) - 1 : -1]
        theirs, log_q = by_hand(problem, STUDENT.tokenizer.decode(ids))
        found.append((ids, (logits / TEMPERATURE).log_softmax(-1), theirs, log_q))
    return found


def sorted_distance(p: Tensor, q: Tensor) -> Tensor:
    width = max(len(p), len(q))
    filled = [torch.cat([x, x.new_zeros(width - len(x))]).sort(descending=True).values for x in (p, q)]
    return (filled[0] - filled[1]).abs().sum()


def test_uld_pairs_token_with_token() -> None:
    value, counted = loss(UniversalLogits(), opened("position"), ROLLOUT.sampled_mask)
    for row, (ours, log_p, theirs, log_q) in enumerate(rows()):
        both = min(len(ours), len(theirs))
        assert counted[row].sum() == both
        for place in range(both):
            expected = sorted_distance(log_p[place].exp(), log_q[place].exp())
            torch.testing.assert_close(value[row, place], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0)])
def test_gold_compares_merged_spans(weights: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_vocabularies, "_ALIVE", 2 * 270)  # blocks of two spans or less
    objective = GeneralLogits(0.3, *(weights or (None, None)))
    value, counted = loss(objective, opened("merged"), ROLLOUT.sampled_mask)
    student, teacher = tables()
    pairs = {a: teacher.ids[s] for s, a in student.ids.items() if s in teacher.ids} | {257: 257}
    total: Any = 0.0
    longer = 0
    for row, (ours, log_p, theirs, log_q) in enumerate(rows()):
        groups = align(student.symbols(ours), teacher.symbols(theirs)).groups
        matched, ranked = weights or (len(pairs) / log_q.shape[-1], 1 - len(pairs) / log_q.shape[-1])
        for group in groups:
            p, q = (
                log_prob[side.start] + sum(log_prob[t, ids[t]] for t in side[1:])
                for log_prob, ids, side in ((log_p, ours, group.student), (log_q.detach(), theirs, group.teacher))
            )
            named = list(pairs.items())
            jsd = JensenShannon(0.3).terms(p[[a for a, _ in named]], q[[b for _, b in named]]).sum()
            rest = [x[[i for i in range(len(x)) if i not in known]].exp() for x, known in
                    ((p, {*pairs}), (q, {*pairs.values()}))]  # fmt: skip
            expected = matched * jsd + ranked * sorted_distance(*rest)
            torch.testing.assert_close(value[row, group.student.start], expected, rtol=1e-4, atol=1e-5)
            total = total + expected
            longer += len(group.student) > 1
        assert counted[row].sum() == len(ours)
    assert longer > 3
    torch.testing.assert_close(value.sum(), total, rtol=1e-4, atol=1e-5)
    for found, expected in zip(
        *(torch.autograd.grad(x, list(weights_of())) for x in (value.sum(), total)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def weights_of() -> list[Tensor]:
    return [STUDENT.module.get_output_embeddings().weight, next(iter(STUDENT.module.parameters()))]


def test_a_span_with_a_token_that_does_not_count_is_left_out() -> None:
    student, teacher = tables()
    ids = ROLLOUT.tokens[0][ROLLOUT.sampled_mask[0]].tolist()
    groups = align(student.symbols(ids), teacher.symbols(rows()[0][2])).groups
    long = next(group.student for group in groups if len(group.student) > 1)
    mask = ROLLOUT.sampled_mask.clone()
    mask[0, long.stop - 1] = False
    whole, _ = loss(GeneralLogits(), opened("merged"), ROLLOUT.sampled_mask)
    value, counted = loss(GeneralLogits(), opened("merged"), mask)
    assert not counted[0, long.start : long.stop].any()
    assert value[0, long.start].item() == 0.0
    torch.testing.assert_close(value[counted], whole[counted])


@pytest.mark.parametrize("mode", ["merged", "position"])
def test_one_tokenizer_for_both_is_the_plain_teacher(mode: str) -> None:
    same = opened(mode, teacher=STUDENT)
    value, counted = loss(GeneralLogits(), same, ROLLOUT.sampled_mask)
    assert torch.equal(counted, ROLLOUT.sampled_mask)
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-6, rtol=0)


def test_nothing_to_compare_is_no_loss() -> None:
    value, counted = loss(UniversalLogits(), opened("merged"), torch.zeros_like(ROLLOUT.sampled_mask))
    assert not counted.any()
    assert not value.any()


@pytest.mark.parametrize(
    "values", [{"beta": 2.0}, {"matched_weight": 1.0}, {"matched_weight": -1.0, "ranked_weight": 1.0}]
)
def test_values_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"objective\."):
        GeneralLogits(**values)
