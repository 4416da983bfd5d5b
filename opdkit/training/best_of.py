"""Best-of-N selection among a teacher's responses, by correctness and alignment with the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from opdkit.data.problem import Message, Problem
from opdkit.data.template import fill, template_fields
from opdkit.errors import UserError
from opdkit.generation import Completion, Sampling
from opdkit.samplers import TopP

Alignment = Literal["positional", "teacher_forced"]


@dataclass(frozen=True)
class BestOf:
    """One response per prompt, the best of several by the teacher.

    Tier 1: the correct response that is best aligned with the student. Tier 2, for prompts without a correct one: the
    teacher answers once more with a hint, and this answer is used if correct. Tier 3: the best aligned of all responses
    without the hint. Ties go to the first. The response is trained on after the original prompt.

    Attributes:
        count: N, the teacher's responses per prompt.
        alignment: the fraction of a response's tokens that are among the student's top `k` ids. teacher_forced: at the
            same position, given the same tokens before. positional: at the same position of the student's own
            rollouts, whatever their tokens, over the positions that both have.
        k: see `alignment`.
        hint: replaces the last user turn in tier 2, with fields as in a privileged teacher's template. None skips
            tier 2.
        temperature: the teacher's sampling temperature.
        top_p: the teacher's top-p.
    """

    count: int = 4
    alignment: Alignment = "teacher_forced"
    k: int = 16
    hint: str | None = None
    temperature: float = 0.7
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.alignment not in get_args(Alignment):
            raise UserError(f"alignment={self.alignment!r} is not one of {', '.join(get_args(Alignment))}")
        for name in ("count", "k"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"temperature={self.temperature}: must be above 0, and finite")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: must be above 0 and at most 1")
        if self.hint is not None and "question" not in template_fields(self.hint):
            raise UserError(f"hint={self.hint!r} has no {{question}}: the teacher would not see it")

    @property
    def reads(self) -> frozenset[str]:
        """The fields of the hint, by the names of `Problem.text`."""
        return frozenset(template_fields(self.hint or ""))

    @property
    def sampling(self) -> Sampling:
        """The teacher's sampling settings. Its log-probs are not needed, since the student scores the selection."""
        return Sampling(self.temperature, TopP(self.top_p), log_prob=False, entropy=False)

    def hinted(self, problem: Problem) -> tuple[Message, ...] | None:
        """The chat of tier 2, None if there is no hint or the problem lacks one of its fields."""
        fields = {name: text for name in self.reads if (text := problem.text(name)) is not None}
        if self.hint is None or len(fields) < len(self.reads):
            return None
        return (*problem.messages[:-1], Message("user", fill(self.hint, fields)))


@dataclass(frozen=True)
class Candidate:
    """A candidate response, whether it is correct, and its alignment, 0 to 1."""

    completion: Completion
    right: bool
    alignment: float


@dataclass(frozen=True)
class Chosen:
    """The selected candidate, and its tier."""

    candidate: Candidate
    tier: int


def choose(written: Sequence[Candidate], hinted: Candidate | None) -> Chosen:
    """Select the candidate of one prompt.

    Args:
        written: the candidates without a hint, at least one.
        hinted: the candidate with the hint, None if there is none.
    """
    right = [candidate for candidate in written if candidate.right]
    if right:
        return Chosen(_best(right), 1)
    if hinted is not None and hinted.right:
        return Chosen(hinted, 2)
    return Chosen(_best(written), 3)


def _best(candidates: Sequence[Candidate]) -> Candidate:
    return max(candidates, key=lambda candidate: candidate.alignment)


def share_among(tokens: Tensor, best: Tensor) -> float:
    """The fraction of tokens i64[n] that are among best i64[m, k] at the same position, over their common positions."""
    places = min(len(tokens), len(best))
    if places == 0:
        return 0.0
    found: Tensor = (best[:places] == tokens[:places, None]).any(dim=1)
    return float(found.to(torch.float64).mean())
