"""No tensor of positions x vocabulary exists at any moment, forward or backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from opdkit.functional.divergences import Divergence, JensenShannon, ReverseKL
from opdkit.heads import (
    Head,
    logsumexp,
    sampled_log_prob,
    support_logits,
    support_with_logsumexp,
    vocabulary_divergence,
    vocabulary_stats,
)
from opdkit.heads import tiles as tiles_module

N, V, D, K = 300, 6000, 8, 4


class _Largest(TorchDispatchMode):
    """Remembers the most elements that any result of any operation had."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [
            leaf.untyped_storage().nbytes() // leaf.element_size()
            for leaf in tree_leaves(result)
            if isinstance(leaf, Tensor)
        ]
        self.elements = max([self.elements, *sizes])
        return result


def _run(step: Callable[[Tensor, Head, Tensor], Tensor]) -> int:
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=source, requires_grad=True)
    weight = torch.randn(V, D, generator=source, requires_grad=True)
    ids = torch.randint(0, V, (N, K), generator=source)
    with _Largest() as largest:
        step(hidden, Head(weight), ids).sum().backward()
    return largest.elements


def _surveyed(hidden: Tensor, head: Head, ids: Tensor) -> Tensor:
    found = vocabulary_stats(hidden, head, K, entropy=True).ids
    assert found is not None
    return support_logits(hidden, head, found)


def _against_a_teacher(divergence: Divergence) -> Callable[[Tensor, Head, Tensor], Tensor]:
    teacher = torch.randn(N, D), Head(torch.randn(V, D))
    return lambda hidden, head, ids: vocabulary_divergence(hidden, head, *teacher, divergence)


STEPS = {
    "support_logits": support_logits,
    "sampled_log_prob": lambda hidden, head, ids: sampled_log_prob(hidden, head, ids[:, 0]),
    "logsumexp": lambda hidden, head, ids: logsumexp(hidden, head),
    "support_with_logsumexp": lambda hidden, head, ids: torch.cat(
        [part.flatten() for part in support_with_logsumexp(hidden, head, ids)]
    ),
    "survey": _surveyed,
    "reverse KL": _against_a_teacher(ReverseKL()),
    "Jensen-Shannon": _against_a_teacher(JensenShannon()),
}


@pytest.mark.parametrize("name", STEPS)
def test_nothing_larger_than_a_tile_or_the_weight(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles_module, "_ALIVE_CPU", 2**15)
    monkeypatch.setattr(tiles_module, "_NARROWEST", 2**8)
    monkeypatch.setattr(tiles_module, "_KEPT_CPU", 2**15)
    monkeypatch.setattr(tiles_module, "_KEPT_TILE_CPU", 2**12)
    assert _run(STEPS[name]) <= max(V * D, 2**15)


def test_the_measure_sees_what_it_should() -> None:
    assert _run(lambda hidden, head, ids: torch.mm(hidden, head.weight.t())) >= N * V


def test_a_tied_head_makes_no_gradient_of_its_own_as_large_as_the_weight() -> None:
    weight = torch.randn(V, D, requires_grad=True)
    ids, read = torch.randint(0, V, (N // 2, K)), torch.randint(0, V, (N // 2,))
    sizes = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            # Not `add`: while a dispatch mode looks on, autograd cannot know that it may add in place.
            makes = ("zeros", "embedding_dense_backward", "clone")
            whole = isinstance(result, Tensor) and result.layout == torch.strided and result.numel() == V * D
            if whole and any(name in str(func) for name in makes):
                sizes.append(str(func))
            return result

    with Count():
        hidden = torch.nn.functional.embedding(read, weight) * 1.0
        support_logits(hidden, Head(weight, tied=True), ids).sum().backward()
    assert sizes == ["aten.embedding_dense_backward.default"]
