"""The cases of `python -m benchmarks`: contestants, shapes, and opdkit's goals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.shapes import HeadShape, ProductShape, Shape, UpdateShape

View = Literal["comparison", "growth", "roofline"]


@dataclass(frozen=True)
class Entry:
    """One contestant on one shape; `name` is unique in its case."""

    contestant: str
    shape: Shape

    @property
    def name(self) -> str:
        """The contestant, and the response length for an update shape."""
        return f"{self.contestant}@{self.shape.response}" if isinstance(self.shape, UpdateShape) else self.contestant


@dataclass(frozen=True)
class Goal:
    """`contestant` should be `factor` times faster than the best of `against`, or use `factor` times less memory."""

    text: str
    measure: Literal["time", "memory"]
    factor: float
    contestant: str
    against: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One section of the page.

    view: the module that summarises and renders its results. entries: measured in alternation.
    baseline: the contestant that ratios are relative to. most_repeats: maximum processes per entry.
    needs_gpu: skipped without a GPU.
    """

    name: str
    title: str
    view: View
    entries: tuple[Entry, ...]
    baseline: str
    goals: tuple[Goal, ...] = ()
    most_repeats: int | None = None
    needs_gpu: bool = False

    @property
    def shape(self) -> Shape:
        """The shape of the first entry."""
        return self.entries[0].shape


def _on(shape: Shape, *contestants: str) -> tuple[Entry, ...]:
    return tuple(Entry(name, shape) for name in contestants)


NARROW, WIDE = HeadShape(512, 151936, 64), HeadShape(256, 151936, 896)
LARGE_VOCABULARY = UpdateShape()
SMALL = UpdateShape(vocabulary=32000, width=128, intermediate=512, prompt=32, response=128)
SMOLLM2 = UpdateShape(
    vocabulary=49152, width=576, layers=30, heads=9, key_value_heads=3, intermediate=1536, architecture="llama"
)
LONG = UpdateShape(width=64, layers=2, heads=2, key_value_heads=1, intermediate=256, batch=1)
QWEN_1B = UpdateShape(
    width=1536, layers=28, heads=12, intermediate=8960, batch=8, prompt=128, response=896, precision="bfloat16"
)
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
LENGTHS_IN_FULL = (512, 1024)

_HEADS = (
    "opdkit_head", "opdkit_found_head", "opdkit_bucket_head", "opdkit_sampled_head", "opdkit_full_head",
    "logits_head", "trl_head", "gkd_head", "liger_head",
)  # fmt: skip
_FULL_TRAINERS = ("trl_update", "gkd_update", "gold_update", "iw_opd_update")
_LARGE_UPDATES = ("opdkit_update", "opdkit_sampled_update", "opdkit_full_update", "trl_update")
_GPU_UPDATES = (*_LARGE_UPDATES, "gkd_update", "iw_opd_topk", "logits_update", "body_update")
_SMALL_UPDATES = ("opdkit_update", "opdkit_tail_update", "opdkit_full_update", *_FULL_TRAINERS, "iw_opd_topk")

_TRL_HEAD, _TRL_UPDATE = ("trl_head",), ("trl_update",)
_HEAD_TIME = Goal("support given: 20 times TRL's chunked divergence", "time", 20.0, "opdkit_head", _TRL_HEAD)
_HEAD_MEMORY = Goal("support given: 1/8 of its extra memory", "memory", 8.0, "opdkit_head", _TRL_HEAD)
_FULL_GOALS = (
    Goal("full vocabulary: as fast as TRL's chunked divergence", "time", 1.0, "opdkit_full_head", _TRL_HEAD),
    Goal("full vocabulary: no more extra memory", "memory", 1.0, "opdkit_full_head", _TRL_HEAD),
)
_LARGE_GOALS = (
    Goal("top K: 6 times faster than TRL's DistillationTrainer", "time", 6.0, "opdkit_update", _TRL_UPDATE),
    Goal("top K: 1/4 of its extra memory", "memory", 4.0, "opdkit_update", _TRL_UPDATE),
)
_STEP_GOALS = (Goal("3 times faster than TRL's DistillationTrainer", "time", 3.0, "opdkit_step", ("trl_step",)),)
_SMALL_GOALS = (
    Goal("top K: twice as fast as the fastest full-vocabulary trainer", "time", 2.0, "opdkit_update", _FULL_TRAINERS),
    Goal("top K: faster than IW-OPD's top K", "time", 1.0, "opdkit_update", ("iw_opd_topk",)),
)


def _compare(
    name: str, title: str, shape: Shape, contestants: tuple[str, ...], baseline: str, goals: tuple[Goal, ...] = ()
) -> Case:
    most_repeats = 2 if shape == WIDE else None
    return Case(name, title, "comparison", _on(shape, *contestants), baseline, goals, most_repeats)


def _growth(lengths: tuple[int, ...], in_full: tuple[int, ...]) -> Case:
    entries: list[Entry] = []
    for length in lengths:
        names = ("opdkit_update", "body_update", *(("logits_update",) if length in in_full else ()))
        entries += _on(replace(LONG, response=length), *names)
    title = "Growth with response length"
    return Case("growth", title, "growth", tuple(entries), "body_update", most_repeats=1)


def _roofline(shape: UpdateShape, size: int) -> Case:
    entries = (*_on(ProductShape(size), "product"), *_on(shape, "opdkit_update", "update_products", "body_update"))
    title = "Update phase of two models shaped like SmolLM2-135M, against the machine's multiply rate"
    return Case("roofline", title, "roofline", entries, "product", most_repeats=2)


FULL = (
    _compare("head_64", "Loss head alone, narrow", NARROW, _HEADS, "trl_head",
             (_HEAD_TIME, _HEAD_MEMORY, *_FULL_GOALS)),
    _compare("head_896", "Loss head alone, wide", WIDE, _HEADS, "trl_head", (_HEAD_TIME, *_FULL_GOALS)),
    _compare("update", "Update phase, large vocabulary", LARGE_VOCABULARY, _LARGE_UPDATES, "trl_update", _LARGE_GOALS),
    _compare("update_32k", "Update phase, small vocabulary", SMALL, _SMALL_UPDATES, "trl_update", _SMALL_GOALS),
    _compare("step", "A whole step, generation included", SMALL, ("opdkit_step", "trl_step", "gkd_step"), "trl_step",
             _STEP_GOALS),
    Case("update_1b", "Update phase, models shaped like Qwen2.5-1.5B", "comparison", _on(QWEN_1B, *_GPU_UPDATES),
         "trl_update", most_repeats=2, needs_gpu=True),
    _growth(LENGTHS, LENGTHS_IN_FULL),
    _roofline(SMOLLM2, 2048),
)  # fmt: skip

QUICK = (
    _compare("head_64", "Loss head alone, narrow", NARROW, ("opdkit_head", "trl_head"), "trl_head",
             (_HEAD_TIME, _HEAD_MEMORY)),
    _compare("update_32k", "Update phase, small vocabulary", SMALL, ("opdkit_update", "trl_update"), "trl_update"),
)  # fmt: skip
