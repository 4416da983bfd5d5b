"""Inside a compiled function the heads give the same numbers, and still keep nothing of positions x vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from opdkit.functional.divergences import JensenShannon
from opdkit.heads import (
    Head,
    logsumexp,
    sampled_log_prob,
    support_logits,
    support_with_logsumexp,
    vocabulary_divergence,
    vocabulary_stats,
)

# The compiler itself looks at the gradient of what it goes on with.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

N, V, D = 6, 40, 4


def _compared(hidden: Tensor, head: Head, ids: Tensor) -> Tensor:
    return vocabulary_divergence(hidden, head, hidden.detach().cos(), Head(head.weight.detach().cos()), JensenShannon())


def _surveyed(hidden: Tensor, head: Head, ids: Tensor) -> Tensor:
    found = vocabulary_stats(hidden, head, 3).logits
    assert found is not None
    return found + hidden[:, :3] * head.weight.sum()


FUNCTIONS: dict[str, Callable[[Tensor, Head, Tensor], Tensor]] = {
    "support_logits": support_logits,
    "sampled_log_prob": lambda hidden, head, ids: sampled_log_prob(hidden, head, ids[:, 0]),
    "logsumexp": lambda hidden, head, ids: logsumexp(hidden, head),
    "support_with_logsumexp": lambda hidden, head, ids: torch.cat(
        [part.view(N, -1) for part in support_with_logsumexp(hidden, head, ids)], 1
    ),
    "vocabulary_divergence": _compared,
    "survey": _surveyed,
}


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_gives_the_same_numbers_and_keeps_no_logits(name: str, backend: str) -> None:
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=source, requires_grad=True)
    weight = torch.randn(V, D, generator=source, requires_grad=True)
    ids = torch.randint(0, V, (N, 3), generator=source)

    def run(hidden: Tensor, weight: Tensor) -> Tensor:
        return FUNCTIONS[name](hidden * 2.0, Head(weight, softcap=3.0), ids).square()

    plain = run(hidden, weight)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compiled = torch.compile(run, backend=backend)(hidden, weight)
    torch.testing.assert_close(compiled, plain, rtol=0, atol=0)
    mine, theirs = (torch.autograd.grad(value.sum(), (hidden, weight)) for value in (compiled, plain))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert one.any()
    assert max(kept) < N * V
