"""Scores of counted tokens against a plain forward pass with all logits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from opdkit.data.rollout import Prompts, Rollout
from opdkit.generation import HFRollout
from opdkit.models import Request, Scorer
from tests.tiny import rendered, tiny_model, tiny_problems, written

TEMPERATURE = 0.8


def rollout_of(count: int = 4) -> Rollout:
    model = tiny_model(0)
    problems = rendered(model, tiny_problems(count))
    return written(
        HFRollout(12, 256, 64), model, problems, lambda z: torch.ones_like(z, dtype=torch.bool), 1.0, list(range(count))
    )


def dense(seed: int, rollout: Rollout) -> torch.Tensor:
    """f32[B, T, 260] logits over the real vocabulary, row by row, without any padding."""
    model = tiny_model(seed)
    found = torch.zeros(*rollout.tokens.shape, 260)
    for row in range(len(rollout.tokens)):
        prompt = rollout.prompts.ids[row][rollout.prompts.attention_mask[row]]
        response = rollout.tokens[row][rollout.sampled_mask[row]]
        with torch.no_grad():
            logits = model.module(input_ids=torch.cat([prompt, response])[None]).logits[0, :, :260]
        found[row, : len(response)] = logits[len(prompt) - 1 : -1] / TEMPERATURE
    return found


def counted_of(rollout: Rollout) -> torch.Tensor:
    loss_mask = rollout.sampled_mask.clone()
    loss_mask[:, 1::3] = False
    return loss_mask


def test_everything_asked_for_is_that_of_the_dense_logits() -> None:
    rollout = rollout_of()
    loss_mask, logits = counted_of(rollout), dense(1, rollout_of())
    scores = Scorer(tiny_model(1))(rollout, loss_mask, Request(sampled=True, top_k=5, stats_k=7), TEMPERATURE)
    log_prob = logits.log_softmax(-1)
    sampled = log_prob.gather(-1, rollout.tokens[..., None])[..., 0]
    assert scores.sampled_log_prob is not None
    assert scores.support_logits is not None
    assert torch.allclose(scores.sampled_log_prob[loss_mask], sampled[loss_mask], atol=1e-4)
    assert torch.allclose(scores.logsumexp[loss_mask], logits.logsumexp(-1)[loss_mask], atol=1e-4)
    assert torch.allclose(scores.entropy[loss_mask], torch.special.entr(log_prob.exp()).sum(-1)[loss_mask], atol=1e-4)
    best = logits.topk(7, dim=-1)
    assert torch.equal(scores.top_ids[loss_mask], best.indices[loss_mask])
    assert torch.equal(scores.support_ids[loss_mask], best.indices[loss_mask][:, :5])
    assert torch.allclose(scores.support_logits[loss_mask], best.values[loss_mask][:, :5], atol=1e-4)
    for name in ("sampled_log_prob", "logsumexp", "entropy", "support_logits"):
        assert bool((getattr(scores, name)[~loss_mask] == 0).all())


def test_given_ids_join_the_models_own_and_the_sampled_token_once_each() -> None:
    rollout = rollout_of()
    logits = dense(1, rollout)
    given = dense(0, rollout).topk(3, dim=-1).indices
    request = Request(top_k=3, support_ids=given, include_sampled=True)
    scores = Scorer(tiny_model(1))(rollout, rollout.sampled_mask, request, TEMPERATURE)
    own = logits.topk(3, dim=-1).indices
    for row, step in rollout.sampled_mask.nonzero().tolist():
        kept = scores.support_ids[row, step][scores.support_mask[row, step]].tolist()
        expected = {*own[row, step].tolist(), *given[row, step].tolist(), int(rollout.tokens[row, step])}
        assert len(kept) == len(set(kept))
        assert set(kept) == expected
        values = scores.support_logits[row, step][scores.support_mask[row, step]]
        assert torch.allclose(values, logits[row, step, kept], atol=1e-4)


def test_padding_changes_nothing() -> None:
    rollout = rollout_of()
    more = Rollout(
        Prompts(
            torch.nn.functional.pad(rollout.prompts.ids, (5, 0), value=3),
            torch.nn.functional.pad(rollout.prompts.attention_mask, (5, 0)),
            rollout.prompts.problems,
        ),
        torch.nn.functional.pad(rollout.tokens, (0, 4), value=7),
        torch.nn.functional.pad(rollout.sampled_mask, (0, 4)),
        torch.nn.functional.pad(rollout.behaviour_log_prob, (0, 4)),
        torch.nn.functional.pad(rollout.entropy, (0, 4)),
        rollout.stop_reason,
    )
    model, request = tiny_model(1), Request(sampled=True, top_k=4)
    before = Scorer(model)(rollout, rollout.sampled_mask, request, 1.0)
    after = Scorer(model)(more, more.sampled_mask, request, 1.0)
    width = rollout.tokens.shape[1]
    assert torch.allclose(before.sampled_log_prob, after.sampled_log_prob[:, :width], atol=1e-5)
    assert torch.equal(before.support_ids[rollout.sampled_mask], after.support_ids[more.sampled_mask])


def test_gradient_reaches_the_model_through_what_is_differentiable_and_a_survey_adds_none() -> None:
    rollout = rollout_of()
    ids = dense(0, rollout).topk(3, dim=-1).indices
    gradients = []
    for stats_k in (0, 6):
        model = tiny_model(1)
        request = Request(sampled=True, support_ids=ids, stats_k=stats_k)
        scores = Scorer(model)(rollout, rollout.sampled_mask, request, 1.0)
        (scores.sampled_log_prob.sum() + scores.support_logits.square().sum()).backward()
        gradients.append([p.grad.clone() for p in model.module.parameters()])
        if stats_k:
            assert not scores.logsumexp.requires_grad
            assert not scores.entropy.requires_grad
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    assert any(bool(g.abs().sum() > 0) for g in gradients[0])


@pytest.mark.parametrize("start", [0, 2])
def test_a_request_is_cut_with_its_rows(start: int) -> None:
    ids = torch.arange(4 * 6 * 2).view(4, 6, 2)
    part = replace(Request(top_k=1), support_ids=ids, support_mask=ids > 5).rows(start, start + 2, 3)
    assert torch.equal(part.support_ids, ids[start : start + 2, :3])
    assert torch.equal(part.support_mask, (ids > 5)[start : start + 2, :3])
    assert Request(top_k=1).rows(0, 1, 1) == Request(top_k=1)
