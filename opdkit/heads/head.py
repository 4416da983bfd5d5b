"""A language model's output layer as plain tensors, and the scaling applied to its logits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Head:
    """An lm_head: z = scale * (h . W_v + b_v), then z = softcap * tanh(z / softcap) where a softcap is set.

    weight [R, D] and bias [R] or None; only the first `vocabulary` of the R rows are valid ids, the others are unused
    padding. `tied`: weight is also the input embedding, to which autograd adds a dense gradient anyway, so that the
    gradient of a few gathered rows may be sparse.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    vocabulary: int = 0
    tied: bool = False

    def __post_init__(self) -> None:
        if self.weight.dim() != 2:
            raise ValueError(f"head weight has shape {tuple(self.weight.shape)}, it must be [rows, width]")
        rows = self.weight.shape[0]
        if self.vocabulary == 0:
            object.__setattr__(self, "vocabulary", rows)
        if not 1 <= self.vocabulary <= rows:
            raise ValueError(f"head vocabulary is {self.vocabulary}, it must be between 1 and its {rows} rows")
        if self.bias is not None and self.bias.shape != (rows,):
            raise ValueError(f"head bias has shape {tuple(self.bias.shape)}, it must be [{rows}]")
        if self.scale <= 0 or (self.softcap is not None and self.softcap <= 0):
            raise ValueError(f"head scale and softcap must be positive, got {self.scale} and {self.softcap}")

    def check_ids(self, ids: Tensor) -> None:
        """Raises IndexError if an id is outside the vocabulary (padded rows must not be scored)."""
        if ids.numel() == 0:
            return
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= self.vocabulary:
            raise IndexError(f"ids span {low}..{high}, the vocabulary is 0..{self.vocabulary - 1}")

    def shape(self, temperature: float) -> LogitShape:
        """The transformation from h . W_v + b_v to a logit at this temperature."""
        return LogitShape(self.scale, self.softcap, temperature)


@dataclass(frozen=True)
class LogitShape:
    """The scalars that turn h . W_v + b_v into the logit given to the softmax."""

    scale: float
    softcap: float | None
    temperature: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, it must be positive")

    def apply_(self, product: Tensor) -> Tensor:
        """Turn h . W_v + b_v into z / temperature, in place."""
        if self.softcap is None:
            factor = self.scale / self.temperature
            return product if factor == 1.0 else product.mul_(factor)
        return product.mul_(self.scale / self.softcap).tanh_().mul_(self.softcap / self.temperature)

    def pull_back_(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """Turn a gradient for z / temperature into one for h . W_v + b_v, in place; `logits` is z / temperature."""
        factor = self.scale / self.temperature
        if self.softcap is not None:
            gradient.mul_((logits * (self.temperature / self.softcap)).square_().neg_().add_(1.0))
        return gradient if factor == 1.0 else gradient.mul_(factor)


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def uncompiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Exclude the function from torch.compile: when traced, the backward's recomputed products would be recognised as
    equal to the forward's, and the whole [N, V] would be kept in memory."""
    return cast("Callable[_Parameters, _Result]", torch.compiler.disable(function))


def exact_products(tensor: Tensor) -> AbstractContextManager[object]:
    """A context with autocast disabled: this package chooses its own dtypes, in the backward pass too."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def accumulate_type(*tensors: Tensor) -> torch.dtype:
    """float64 if any input is, else float32: the dtype of all logits returned by this package."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def product_type(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """The dtype of the large matrix products: the narrower of the two if one is half precision."""
    for tensor in (hidden, weight):
        if tensor.dtype in (torch.bfloat16, torch.float16):
            return tensor.dtype
    return torch.promote_types(hidden.dtype, weight.dtype)
