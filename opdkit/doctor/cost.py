"""Estimates time and memory of a step from shapes and a few timed rollouts, and compares with a real step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from opdkit.doctor.report import Grid, Note, Section
from opdkit.training.experiment import Batch

_MIB = 2.0**20
_TOLERANCE = 0.25
# Keys and values have room for a quarter more tokens than they hold (see `opdkit.models.cache`).
_CACHE_ROOM = 1.25
# Gradients that a backward pass holds beside what the forward pass kept: those of an MLP's inner layer, its gate and
# its product, each as large as the largest tensor that was kept.
_PASSING = 3
# A tile of logits, its exponentials, and two more while it is looked into.
_OF_LOGITS = 4


@dataclass(frozen=True)
class Shapes:
    """What is known without running anything.

    Bytes: student and teacher, their parameters; trainable, the student's that learn; largest, the largest of these;
    cache_row, keys and values of one row at the length limits. rows_at_once: rollouts decoded side by side;
    limit: max_prompt_tokens + max_new_tokens; batch, steps: of the run.
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
    """A few rollouts, written, scored and learnt from in this process.

    lengths: tokens of each response; seconds to write them, to have the teacher score them, and of one update from
    all of them; decode: (rows, seconds a decoding step) for few rows and for many.
    """

    lengths: tuple[int, ...]
    rollout_s: float
    teacher_s: float
    update_s: float
    decode: tuple[tuple[int, float], tuple[int, float]]


@dataclass(frozen=True)
class ActivationBytes:
    """Bytes that the forward pass of one micro-batch kept for its backward pass: all of them, and the largest tensor.

    logits: bytes of the logits that are alive at a time; tokens: the widest row's, prompt and response; process: bytes
    that the process held before, both models included; seen: the most that it held while the rollouts were timed, what
    the allocator keeps for itself included.
    """

    total: int
    largest: int
    logits: int
    tokens: int
    process: int
    seen: int


@dataclass(frozen=True)
class Cost:
    """Seconds of a step and its phases, and the most bytes held in it."""

    rollout_s: float
    teacher_s: float
    update_s: float
    peak: int

    @property
    def step_s(self) -> float:
        """All phases."""
        return self.rollout_s + self.teacher_s + self.update_s


def estimate(shapes: Shapes, timed: Timings, kept: ActivationBytes) -> Cost:
    """A step from its parts. Responses are taken to be as long as those that were timed."""
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
    """The sum of the parts, and not less than what a mini-batch has taken already."""
    return max(added_up(shapes, kept), kept.seen)


def added_up(shapes: Shapes, kept: ActivationBytes) -> int:
    """The peak from its parts, with an allocator that keeps nothing for itself."""
    return kept.process + 2 * shapes.trainable + max(_writing(shapes), _learning(shapes, kept))


def decoding_seconds(
    lengths: Sequence[int], rows: int, at_once: int, decode: tuple[tuple[int, float], tuple[int, float]]
) -> float:
    """Seconds to decode `rows` responses, `at_once` side by side; their lengths are spread as `lengths` are.

    A decoding step costs a + b times the rows that have not finished, through the two measured points.
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
    """Beside what was kept: gradients on their way, a tile of logits, and a parameter's gradient before it is added to
    those of earlier micro-batches."""
    return _PASSING * kept.largest + _OF_LOGITS * kept.logits + shapes.largest


def estimated(shapes: Shapes, timed: Timings, kept: ActivationBytes, room: int) -> Section:
    """room: bytes that the process may hold in all."""
    cost = estimate(shapes, timed, kept)
    whole = duration(cost.step_s * shapes.steps)
    notes = [
        Note("ok", f"a step: about {duration(cost.step_s)}; {shapes.steps} steps: {whole}, evaluation not counted"),
        memory_note(cost.peak, room, "at its peak"),
    ]
    longest = at_the_limits(shapes, kept)
    if cost.peak <= room < longest:
        notes.append(memory_note(longest, room, "where rows reach the length limits"))
    phases = (("rollout", cost.rollout_s), ("teacher", cost.teacher_s), ("updates", cost.update_s))
    rows = (
        ("this process now: libraries, data, both models", mebibytes(kept.process)),
        (
            "of it, parameters of student and teacher",
            f"{mebibytes(shapes.student)} and {mebibytes(shapes.teacher)}",
        ),
        ("gradients", mebibytes(shapes.trainable)),
        ("optimiser state", mebibytes(2 * shapes.trainable)),
        ("activations of a micro-batch", mebibytes(kept.total)),
        ("what a backward pass makes and drops", mebibytes(_passing(shapes, kept))),
        ("keys and values while rollouts are written", mebibytes(_writing(shapes))),
        ("all of it, at the peak", mebibytes(added_up(shapes, kept))),
        ("the most that the timed rollouts took", mebibytes(kept.seen)),
        ("the peak, with rows as long as those seen", mebibytes(cost.peak)),
        ("the peak, with rows at the length limits", mebibytes(longest)),
    )
    times = Grid(("phase", "seconds"), tuple((name, f"{seconds:.3g}") for name, seconds in phases))
    return Section("cost of a step, estimated", tuple(notes), (times, Grid(("memory", "MiB"), rows)))


def at_the_limits(shapes: Shapes, kept: ActivationBytes) -> int:
    """The peak where a micro-batch's rows have as many tokens as they may."""
    more = shapes.limit / kept.tokens - 1
    return estimate_peak(shapes, kept) + max(0, round(more * (kept.total + _PASSING * kept.largest)))


def too_large(shapes: Shapes, process: int, room: int) -> Section | None:
    """What weights, gradients and optimiser state tell alone: where they find no room, nothing is timed."""
    least = process + 3 * shapes.trainable
    if least <= room:
        return None
    note = memory_note(least, room, "for gradients and optimiser state alone")
    return Section("cost of a step, estimated", (note,))


def memory_note(need: int, room: int, when: str) -> Note:
    """Whether there is room."""
    told = f"memory {when}: about {mebibytes(need)} of {mebibytes(room)} MiB"
    if need <= room:
        return Note("ok", told)
    return Note("warning", told, "batch.micro_batch, rollout.batch_size or rollout.max_new_tokens lower")


def compared(guess: Cost, real: Cost) -> Section:
    """An estimate beside a real step: both, and the ratio."""
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
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def mebibytes(count: int) -> str:
    """Bytes as the tables show them."""
    return f"{count / _MIB:,.0f}" if count >= 10 * _MIB else f"{count / _MIB:.1f}"
