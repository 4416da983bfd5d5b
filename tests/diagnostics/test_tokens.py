"""Token diagnostics against their definitions on small numbers."""

from __future__ import annotations

import pytest
import torch

from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.scores import Scores
from opdkit.diagnostics import TokenMeans, token_metrics


def scores(logits: torch.Tensor, ids: torch.Tensor, tokens: torch.Tensor, k: int) -> Scores:
    log_prob = logits.log_softmax(-1)
    return Scores(
        sampled_log_prob=log_prob.gather(-1, tokens[..., None])[..., 0],
        support_ids=ids,
        support_logits=logits.gather(-1, ids),
        logsumexp=logits.logsumexp(-1),
        entropy=-(log_prob.exp() * log_prob).sum(-1),
        top_ids=logits.topk(k, dim=-1).indices,
    )


def test_every_metric_is_its_definition() -> None:
    torch.manual_seed(0)
    student_logits, teacher_logits = torch.randn(2, 3, 9), torch.randn(2, 3, 9)
    tokens = torch.randint(0, 9, (2, 3))
    ids = teacher_logits.topk(4, dim=-1).indices
    student, teacher = scores(student_logits, ids, tokens, 4), scores(teacher_logits, ids, tokens, 4)
    mask = torch.ones(2, 3, dtype=torch.bool)
    prompts = Prompts(tokens, mask, ())
    found = token_metrics(
        Rollout(prompts, tokens, mask, tokens.float(), torch.full((2, 3), 0.25), ()), student, teacher
    )
    p, q = student_logits.softmax(-1), teacher_logits.softmax(-1)
    for row in range(2):
        for step in range(3):
            inside = ids[row, step].tolist()
            token = int(tokens[row, step])
            top = set(student_logits[row, step].topk(4).indices.tolist())
            assert found["student_mass"][row, step] == pytest.approx(float(p[row, step, inside].sum()), abs=1e-5)
            assert found["teacher_mass"][row, step] == pytest.approx(float(q[row, step, inside].sum()), abs=1e-5)
            assert bool(found["outside_support"][row, step]) == (token not in inside)
            assert found["overlap"][row, step] == pytest.approx(len(top & set(inside)) / 4)
            ratio = float((p[row, step, token] / q[row, step, token]).log())
            assert found["log_ratio_mean"][row, step] == pytest.approx(ratio, abs=1e-5)
            assert bool(found["positive_fraction"][row, step]) == (ratio < 0)
    assert bool((found["student_entropy"] == 0.25).all())


def test_means_count_only_the_mask_and_add_up_over_parts() -> None:
    means = TokenMeans()
    means.add({"a": torch.tensor([[1.0, float("nan")]])}, torch.tensor([[True, False]]))
    means.add({"a": torch.tensor([[2.0, 6.0]])}, torch.tensor([[True, True]]))
    means.add({"b": torch.tensor([[2.0, 6.0]])}, torch.tensor([[False, False]]))
    assert means.means() == {"a": 3.0}
