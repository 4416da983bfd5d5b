"""Estimates time and memory of a step from shapes and a few timed rollouts, and compares it with a real step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from opdkit.doctor.report import Grid, Note, Section
from opdkit.training.experiment import Batch

_MIB = 2.0**20
_TOLERANCE = 0.25
# The KV cache over-allocates by up to a quarter (see `opdkit.models.cache`).
_CACHE_ROOM = 1.25
# Gradients alive in a backward pass beside the saved activations: an MLP's inner layer, its gate and their product,
# each as large as the largest saved tensor.
_PASSING = 3
# A tile of logits, its exponentials, and two temporaries.
_OF_LOGITS = 4


@dataclass(frozen=True)
class Shapes:
    """Sizes known without running anything.

    Bytes: parameters of student and teacher; trainable, the student's trainable ones; largest, the largest of these;
    cache_row, the KV cache of one row at the length limits. rows_at_once: rollouts decoded in parallel;
    limit: max_prompt_tokens + max_new_tokens; batch, steps: the run's.
    """

    student: int
    teacher: int
    trainable: int
    largest: int
    cache_row: int
    rows_at_once: int
    limit: int
    batch: Batch
    steps: int


@dataclass(frozen=True)
class Timings:
    """Timings of a few rollouts: generation, teacher scoring and an update.

    lengths: tokens per response; seconds to generate them, for the teacher to score them, and for one update on all of
    them; decode: (rows, seconds per decoding step) for few and for many rows.
    """

    lengths: tuple[int, ...]
    rollout_s: float
    teacher_s: float
    update_s: float
    decode: tuple[tuple[int, float], tuple[int, float]]


@dataclass(frozen=True)
class ActivationBytes:
    """Bytes that one micro-batch's forward pass saves for its backward pass: in total, and the largest tensor.

    logits: bytes of logits alive at a time; tokens: length of the widest row, prompt and response; process: bytes held
    before, both models included; seen: peak bytes of the process while the rollouts were timed, allocator overhead
    included.
    """

    total: int
    largest: int
    logits: int
    tokens: int
    process: int
    seen: int


@dataclass(frozen=True)
class Cost:
    """Seconds of a step and its phases, and its peak bytes."""

    rollout_s: float
    teacher_s: float
    update_s: float
    peak: int

    @property
    def step_s(self) -> float:
        """Seconds of all phases."""
        return self.rollout_s + self.teacher_s + self.update_s


def estimate(shapes: Shapes, timed: Timings, kept: ActivationBytes) -> Cost:
    """Estimates a step from its parts, assuming responses as long as the timed ones."""
    batch, count = shapes.batch, len(timed.lengths)
    few = decoding_seconds(timed.lengths, count, shapes.rows_at_once, timed.decode)
    all_rows = decoding_seconds(timed.lengths, batch.rollouts, shapes.rows_at_once, timed.decode)
    share = batch.rollouts / count
    return Cost(
        rollout_s=timed.rollout_s * (all_rows / few if few > 0 else share),
        teacher_s=timed.teacher_s * share,
        update_s=timed.update_s * share * batch.epochs,
        peak=estimate_peak(shapes, kept),
    )


def estimate_peak(shapes: Shapes, kept: ActivationBytes) -> int:
    """The estimated peak, at least the measured memory of a mini-batch."""
    return max(added_up(shapes, kept), kept.seen)


def added_up(shapes: Shapes, kept: ActivationBytes) -> int:
    """The peak as the sum of its parts, without allocator overhead."""
    return kept.process + 2 * shapes.trainable + max(_writing(shapes), _learning(shapes, kept))


def decoding_seconds(
    lengths: Sequence[int], rows: int, at_once: int, decode: tuple[tuple[int, float], tuple[int, float]]
) -> float:
    """Seconds to decode `rows` responses, `at_once` in parallel, with the length distribution of `lengths`.

    A decoding step costs a + b * (unfinished rows), fitted through the two measured points.
    """
    (few, quick), (many, slow) = decode
    each = max(0.0, (slow - quick) / (many - few)) if many > few else quick / few
    fixed = max(0.0, quick - each * few) if many > few else 0.0
    tokens = sum(lengths) / len(lengths) * rows
    return fixed * max(lengths) * math.ceil(rows / at_once) + each * tokens


def _writing(shapes: Shapes) -> int:
    rows = min(shapes.rows_at_once, shapes.batch.rollouts)
    return round(shapes.cache_row * rows * _CACHE_ROOM)


def _learning(shapes: Shapes, kept: ActivationBytes) -> int:
    return shapes.trainable + kept.total + _passing(shapes, kept)


def _passing(shapes: Shapes, kept: ActivationBytes) -> int:
    """Temporaries beside the activations: gradients in flight, a tile of logits, and a parameter's gradient before
    accumulation."""
    return _PASSING * kept.largest + _OF_LOGITS * kept.logits + shapes.largest


def estimated(shapes: Shapes, timed: Timings, kept: ActivationBytes, room: int) -> Section:
    """The section of the estimate. room: total bytes available to the process."""
    cost = estimate(shapes, timed, kept)
    whole = duration(cost.step_s * shapes.steps)
    notes = [
        Note("ok", f"a step: about {duration(cost.step_s)}; {shapes.steps} steps: {whole}, evaluation not counted"),
        memory_note(cost.peak, room, "at its peak"),
    ]
    longest = at_the_limits(shapes, kept)
    if cost.peak <= room < longest:
        notes.append(memory_note(longest, room, "if rows reach the length limits"))
    phases = (("rollout", cost.rollout_s), ("teacher", cost.teacher_s), ("updates", cost.update_s))
    rows = (
        ("this process now: libraries, data, both models", mebibytes(kept.process)),
        (
            "of which parameters of student and teacher",
            f"{mebibytes(shapes.student)} and {mebibytes(shapes.teacher)}",
        ),
        ("gradients", mebibytes(shapes.trainable)),
        ("optimiser state", mebibytes(2 * shapes.trainable)),
        ("activations of a micro-batch", mebibytes(kept.total)),
        ("temporaries of a backward pass", mebibytes(_passing(shapes, kept))),
        ("KV cache during generation", mebibytes(_writing(shapes))),
        ("total at the peak", mebibytes(added_up(shapes, kept))),
        ("peak during the timed rollouts", mebibytes(kept.seen)),
        ("peak with rows of the lengths seen", mebibytes(cost.peak)),
        ("peak with rows at the length limits", mebibytes(longest)),
    )
    times = Grid(("phase", "seconds"), tuple((name, f"{seconds:.3g}") for name, seconds in phases))
    return Section("cost of a step, estimated", tuple(notes), (times, Grid(("memory", "MiB"), rows)))


def at_the_limits(shapes: Shapes, kept: ActivationBytes) -> int:
    """The peak when the rows of a micro-batch reach the length limits."""
    more = shapes.limit / kept.tokens - 1
    return estimate_peak(shapes, kept) + max(0, round(more * (kept.total + _PASSING * kept.largest)))


def too_large(shapes: Shapes, process: int, room: int) -> Section | None:
    """The section when weights, gradients and optimiser state alone do not fit: nothing is timed."""
    least = process + 3 * shapes.trainable
    if least <= room:
        return None
    note = memory_note(least, room, "for gradients and optimiser state alone")
    return Section("cost of a step, estimated", (note,))


def memory_note(need: int, room: int, when: str) -> Note:
    """A finding on whether the memory suffices."""
    told = f"memory {when}: about {mebibytes(need)} of {mebibytes(room)} MiB"
    if need <= room:
        return Note("ok", told)
    return Note("warning", told, "batch.micro_batch, rollout.batch_size or rollout.max_new_tokens lower")


def compared(guess: Cost, real: Cost) -> Section:
    """Compares an estimate with a real step: both, and their ratio."""
    pairs = (
        ("rollout, s", guess.rollout_s, real.rollout_s),
        ("teacher, s", guess.teacher_s, real.teacher_s),
        ("updates, s", guess.update_s, real.update_s),
        ("step, s", guess.step_s, real.step_s),
    )
    rows = [(name, f"{one:.3g}", f"{two:.3g}", f"{one / two:.2f}") for name, one, two in pairs if two > 0]
    memory = guess.peak / real.peak
    rows.append(("peak memory, MiB", mebibytes(guess.peak), mebibytes(real.peak), f"{memory:.2f}"))
    notes = [
        _verdict("time", guess.step_s / real.step_s),
        _verdict("memory", memory),
    ]
    grid = Grid(("", "estimated", "measured", "ratio"), tuple(rows))
    return Section("cost of a step, measured", tuple(notes), (grid,))


def _verdict(what: str, ratio: float) -> Note:
    close = abs(ratio - 1) <= _TOLERANCE
    within = "within" if close else "not within"
    return Note("ok" if close else "warning", f"{what}: the estimate is {ratio:.2f} times the measured, {within} 25 %")


def duration(seconds: float) -> str:
    """Seconds in readable units."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def mebibytes(count: int) -> str:
    """Bytes in MiB, for tables."""
    return f"{count / _MIB:,.0f}" if count >= 10 * _MIB else f"{count / _MIB:.1f}"
