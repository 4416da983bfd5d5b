"""No function takes a CPU for granted: the meta device refuses what mixes devices, and has no values to copy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import opdkit.heads
from opdkit.functional.divergences import JensenShannon
from opdkit.heads import Head, support_logits, support_with_logsumexp, vocabulary_divergence

FILES = sorted(Path(opdkit.heads.__file__).parent.glob("*.py"))
LEAVES = ("cpu", "numpy", "cuda", "tolist")
FACTORIES = ("zeros", "ones", "full", "empty", "arange", "tensor", "rand", "randn")


def _faults(text: str) -> Iterator[str]:
    """Calls that leave a tensor's device, or make a tensor on the default one."""
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        of_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
        if node.func.attr in LEAVES and not of_torch:
            yield node.func.attr
        if of_torch and node.func.attr in FACTORIES and not any(key.arg == "device" for key in node.keywords):
            yield node.func.attr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_call_leaves_the_device(file: Path) -> None:
    assert list(_faults(file.read_text(encoding="utf-8"))) == []


def test_a_call_that_does_would_be_found() -> None:
    text = "def f(x):\n    y = torch.zeros(3)\n    return x.cpu().numpy(), torch.zeros(3, device=x.device)\n"
    assert sorted(_faults(text)) == ["cpu", "numpy", "zeros"]


def _results(dtype: torch.dtype) -> tuple[list[Tensor], Tensor, Tensor]:
    """What every function with a gradient returns, and the hidden states and the weight that it is of."""

    def make(*shape: int) -> Tensor:
        return torch.empty(*shape, device="meta", dtype=dtype, requires_grad=True)

    hidden, ids = make(6, 4), torch.empty(6, 3, device="meta", dtype=torch.int64)
    head = Head(make(40, 4), make(40), softcap=3.0, vocabulary=37)
    results = [
        vocabulary_divergence(hidden, head, make(6, 5), Head(make(37, 5)), JensenShannon()),
        *support_with_logsumexp(hidden, head, ids),
        support_logits(hidden, head, ids),
    ]
    return results, hidden, head.weight


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    monkeypatch.setattr(Head, "check_ids", lambda self, ids: None)  # looks at values, and there are none
    return request.param


def test_forward_and_backward_on_another_device(dtype: torch.dtype) -> None:
    results, hidden, weight = _results(dtype)
    if dtype == torch.bfloat16:
        results.pop()  # which ids are named decides a shape of its backward
    for result in results:
        assert (result.device.type, result.dtype) == ("meta", torch.float32)
        for gradient in torch.autograd.grad(result.sum(), (hidden, weight), retain_graph=True):
            assert (gradient.device.type, gradient.dtype) == ("meta", dtype)
