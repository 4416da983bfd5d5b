"""Shapes of the measured cases: plain numbers that fit in a job file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class HeadShape:
    """Loss head only, forward and backward: N positions, V vocabulary ids, D hidden width, K support ids."""

    positions: int
    vocabulary: int
    width: int
    k: int = 32

    def describe(self) -> str:
        """The shape in one line."""
        return f"{self.positions} x {self.vocabulary} x {self.width}, K = {self.k}"


@dataclass(frozen=True)
class UpdateShape:
    """Two models of one architecture with tied heads, and one batch of `batch` rollouts.

    key_value_heads: of each layer; intermediate: width of its MLP; prompt and response: tokens per rollout;
    precision: with bfloat16, teacher weights and student computation are in bfloat16, student weights in float32.
    """

    vocabulary: int = 151936
    width: int = 256
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 1024
    batch: int = 4
    prompt: int = 64
    response: int = 192
    k: int = 32
    architecture: Literal["qwen2", "llama"] = "qwen2"
    precision: Literal["float32", "bfloat16"] = "float32"

    def describe(self) -> str:
        """The shape in one line."""
        layers = f"{self.layers} layer{'s' if self.layers > 1 else ''}"
        half = ", bfloat16" if self.precision == "bfloat16" else ""
        return (
            f"V = {self.vocabulary}, width {self.width}, {layers}, batch {self.batch}, "
            f"{self.prompt} + {self.response} tokens, K = {self.k}{half}"
        )


@dataclass(frozen=True)
class ProductShape:
    """One product of two float32 matrices, size x size each."""

    size: int

    def describe(self) -> str:
        """The shape in one line."""
        return f"{self.size} x {self.size} x {self.size}"


Shape = HeadShape | UpdateShape | ProductShape
_KINDS: dict[str, type[Shape]] = {kind.__name__: kind for kind in (HeadShape, UpdateShape, ProductShape)}


def to_json(shape: Shape) -> dict[str, Any]:
    """The shape as JSON values for `from_json`."""
    return {"kind": type(shape).__name__, **asdict(shape)}


def from_json(values: Mapping[str, Any]) -> Shape:
    """The shape written by `to_json`."""
    fields = {name: value for name, value in values.items() if name != "kind"}
    return _KINDS[values["kind"]](**fields)
