"""What is measured: shapes, and which contestants meet on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["head", "update"]


@dataclass(frozen=True)
class HeadShape:
    """Loss head alone, forward and backward: N positions, V vocabulary ids, D hidden width, K support ids."""

    positions: int
    vocabulary: int
    width: int
    k: int = 32

    def describe(self) -> str:
        """The shape in one line."""
        return f"{self.positions} x {self.vocabulary} x {self.width}, K = {self.k}"


@dataclass(frozen=True)
class UpdateShape:
    """Two Qwen2-shaped models with tied heads and one batch of `batch` rollouts."""

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

    def describe(self) -> str:
        """The shape in one line."""
        return (
            f"V = {self.vocabulary}, width {self.width}, {self.layers} layers, batch {self.batch}, "
            f"{self.prompt} + {self.response} tokens, K = {self.k}"
        )


@dataclass(frozen=True)
class Contestant:
    """Something measured. `factory` is "module:function" and is imported in the measuring process only."""

    name: str
    title: str
    factory: str
    package: str | None = None


@dataclass(frozen=True)
class Goal:
    """What the first contestant should reach against the baseline: `factor` times faster, or with less memory."""

    text: str
    measure: Literal["time", "memory"]
    factor: float


@dataclass(frozen=True)
class Case:
    """One table: a shape, the contestants, and the one that ratios are taken against."""

    name: str
    kind: Kind
    title: str
    shape: HeadShape | UpdateShape
    contestants: tuple[str, ...]
    baseline: str
    goals: tuple[Goal, ...] = ()


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("opdkit_head", "opdkit, support given", "opdkit.bench.heads:support_given"),
        Contestant("opdkit_survey_head", "opdkit, teacher's top-K found too", "opdkit.bench.heads:support_found"),
        Contestant("logits_head", "top-K out of full logits (the usual shape)", "opdkit.bench.given:full_logits"),
        Contestant("trl_head", "TRL chunked divergence, full vocabulary", "opdkit.bench.peers:chunked_head", "trl"),
        Contestant("gkd_head", "TRL GKD loss, full vocabulary", "opdkit.bench.peers:gkd_head", "trl"),
        Contestant(
            "liger_head", "Liger fused linear JSD, full vocabulary", "opdkit.bench.peers:liger_head", "liger_kernel"
        ),
        Contestant("opdkit_update", "opdkit, teacher top-K", "opdkit.bench.updates:topk_update"),
        Contestant(
            "trl_update", "TRL DistillationTrainer, full vocabulary", "opdkit.bench.peers:distillation_update", "trl"
        ),
    )
}

HEADS = ("opdkit_head", "opdkit_survey_head", "logits_head", "trl_head", "gkd_head", "liger_head")
UPDATES = ("opdkit_update", "trl_update")

FULL = (
    Case(
        "head_64",
        "head",
        "Loss head alone, narrow",
        HeadShape(512, 151936, 64),
        HEADS,
        "trl_head",
        (
            Goal("at least 20 times faster than TRL's chunked divergence", "time", 20.0),
            Goal("at most 1/8 of its extra memory", "memory", 8.0),
        ),
    ),
    Case(
        "head_896",
        "head",
        "Loss head alone, wide",
        HeadShape(256, 151936, 896),
        HEADS,
        "trl_head",
        (Goal("at least 20 times faster than TRL's chunked divergence", "time", 20.0),),
    ),
    Case(
        "update",
        "update",
        "Update phase",
        UpdateShape(),
        UPDATES,
        "trl_update",
        (
            Goal("at least 6 times faster than TRL's DistillationTrainer", "time", 6.0),
            Goal("at most 1/4 of its extra memory", "memory", 4.0),
        ),
    ),
)

QUICK = (
    Case(
        "head_64",
        "head",
        "Loss head alone, narrow",
        HeadShape(512, 151936, 64),
        ("opdkit_head", "trl_head"),
        "trl_head",
        FULL[0].goals,
    ),
    Case("update", "update", "Update phase", UpdateShape(), UPDATES, "trl_update", FULL[2].goals),
)


def shape_of(kind: Kind, values: dict[str, Any]) -> HeadShape | UpdateShape:
    """The shape that `dataclasses.asdict` took apart."""
    return HeadShape(**values) if kind == "head" else UpdateShape(**values)
