"""The bench of decoding, on a tiny shape."""

from __future__ import annotations

import pytest
import torch

from benchmarks.decoding import compare, decode
from benchmarks.models import BareTokenizer, batch_of, student_and_teacher
from benchmarks.shapes import UpdateShape
from opdkit.data.rollout import Prompts
from opdkit.models import LanguageModel, direct

TINY = UpdateShape(vocabulary=64, width=16, layers=2, heads=2, key_value_heads=1, intermediate=32, prompt=8, response=4)


@pytest.mark.parametrize("directly", [False, True])
def test_each_way_is_the_one_asked_for(directly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    real = direct.DirectStep.__call__
    monkeypatch.setattr(direct.DirectStep, "__call__", lambda self, *given: (steps.append(1), real(self, *given))[1])
    module = student_and_teacher(TINY)[0].eval()
    model, batch = LanguageModel(module, BareTokenizer(), "model", 64), batch_of(TINY)
    prompts = Prompts(batch.prompt, torch.ones_like(batch.prompt, dtype=torch.bool), ())
    decode(model, prompts, batch.response, directly=True)  # compares the module with transformers once
    steps.clear()
    found = decode(model, prompts, batch.response, directly=directly)
    assert len(steps) == (4 if directly else 0)
    assert [tuple(one.shape) for one in found.logits] == [(4, 64)] * 4


def test_a_line_tells_how_far_logits_are_apart() -> None:
    assert "logits differ by at most 0" in compare(TINY, torch.float32, padded=True, repeats=1)
