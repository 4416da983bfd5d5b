"""Every field of a rollout is cut alike: none is forgotten, and none is taken from other rows."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.rows import rollout_at, rollout_rows

B, P, T = 4, 3, 5


def rollout() -> Rollout:
    """Four rows of two to five tokens, each value of each float field another one."""
    source = torch.Generator().manual_seed(0)
    problems = tuple(Problem(str(row), (Message("user", "go"),), "") for row in range(B))
    mask = torch.arange(T) < torch.tensor([2, 5, 3, 4])[:, None]
    written = torch.zeros(B, T, dtype=torch.bool)
    written[:, 1] = True
    told, entropy, engine = torch.rand(3, B, T, generator=source)
    return Rollout(
        Prompts(torch.arange(B * P).view(B, P), torch.ones(B, P, dtype=torch.bool), problems),
        torch.arange(B * T).view(B, T),
        mask & ~written,
        told,
        entropy,
        ("stop", "length", "stop", "length"),
        environment_mask=mask & written,
        engine_log_prob=engine,
    )


def tensors(one: Rollout) -> dict[str, Tensor]:
    found = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def test_rows_of_a_rollout_are_those_of_each_field() -> None:
    whole, part = rollout(), rollout_rows(rollout(), 2, 4)
    assert len(tensors(whole)) == 6
    for name, value in tensors(whole).items():
        assert torch.equal(tensors(part)[name], value[2:4, :4]), name
    assert part.stop_reason == ("stop", "length")
    assert [problem.identifier for problem in part.prompts.problems] == ["2", "3"]
    assert torch.equal(part.prompts.ids, whole.prompts.ids[2:4])


def test_picked_rows_are_those_of_each_field() -> None:
    whole, part = rollout(), rollout_at(rollout(), [3, 0])
    for name, value in tensors(whole).items():
        assert torch.equal(tensors(part)[name], value[[3, 0]]), name
    assert part.stop_reason == ("length", "stop")
    assert [problem.identifier for problem in part.prompts.problems] == ["3", "0"]
