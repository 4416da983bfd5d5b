"""A teacher with another tokenizer that scores the same text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.models import LanguageModel, ModelSpec, Request
from opdkit.teachers.base import Capabilities, OpenTeacher, Teacher, TeacherContext
from opdkit.teachers.byte_scores import ByteFilterScores, BytePrefixScores
from opdkit.teachers.end_shares import EndShares
from opdkit.teachers.local import score_in_batches
from opdkit.teachers.mapped_scores import MappedScores, SpanScores, StrictScores
from opdkit.teachers.own_scores import MergedScores, PositionScores
from opdkit.teachers.retelling import Bridge
from opdkit.teachers.wrapped import WrappedTeacher

Mode = Literal["strict", "byte_prefix", "byte_filter", "span", "merged", "position"]


@dataclass(frozen=True)
class RetokenizedTeacher:
    """A teacher from another model family: prompt in its own chat template, response in its own tokens.

    Attributes:
        inner: the teacher. It must provide its hidden states and lm_head, or for `span` the log-prob of its own tokens.
        mode: strict: scores tokens that align one to one with the same text, over the ids in both vocabularies.
            byte_prefix: scores all tokens in one pass, with the teacher's distribution mapped to the student's
            vocabulary through bytes. byte_filter: the same without conditioning on the response's next bytes, which
            takes further passes where the teacher's tokens are longer than the student's. span: scores all tokens by
            both models' log-probs summed over the text between common boundaries, for objectives on the sampled token.
            merged and position: the teacher's distribution over its own vocabulary, for objective=gold and uld; merged
            at the spans between common boundaries, position by pairing token t with token t regardless of their texts.
    """

    inner: Any
    mode: Mode = "strict"

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UserError(f"teacher.mode={self.mode!r} is not one of {', '.join(get_args(Mode))}")
        if isinstance(self.inner, RetokenizedTeacher):
            raise UserError("teacher.inner is a retokenized teacher itself; give it the teacher that this one has")

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return self.inner.path

    @property
    def capabilities(self) -> Capabilities:
        """Without the full vocabulary, which differs from the student's, and without responses."""
        own = self.mode in ("merged", "position")
        support = self.mode != "span" and not own
        return Capabilities(
            sampled=not own, own_top_k=support, given_ids=support, vocabulary=False, text=False, logsumexp=support,
            own_vocabulary=own,
        )  # fmt: skip

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError for two tokenizers that can't be aligned."""
        inner: Teacher = self.inner
        known = inner.capabilities
        if not (known.sampled if self.mode == "span" else known.vocabulary):
            wanted = "the log-prob of its own tokens" if self.mode == "span" else "its hidden states and lm_head"
            raise UserError(f"teacher.mode={self.mode} needs {wanted}, which {inner.path} can't give")
        opened = inner.open(context)
        template_kwargs = inner.template_kwargs if isinstance(inner, ModelSpec) else {}
        bridge = Bridge.between(context.student, opened, template_kwargs)
        if self.mode == "span" and not known.given_ids:
            bridge = bridge.with_one_stop()
        # With equal tokenizers all tokens align one to one, and each mode gives the inner teacher's scores.
        mapped = self.mode not in ("span", "merged", "position")
        way = StrictScores if bridge.same and mapped else _MODES[self.mode]
        return OpenRetokenizedTeacher(opened, bridge, way(opened, bridge, context.temperature), context)


_MODES: Mapping[Mode, type[MappedScores]] = {
    "strict": StrictScores,
    "byte_prefix": BytePrefixScores,
    "byte_filter": ByteFilterScores,
    "span": SpanScores,
    "merged": MergedScores,
    "position": PositionScores,
}


class OpenRetokenizedTeacher(WrappedTeacher):
    """Re-tokenises each rollout for the inner teacher and maps its scores back to the student's tokens."""

    def __init__(self, inner: OpenTeacher, bridge: Bridge, mapped: MappedScores, context: TeacherContext) -> None:
        super().__init__(inner)
        self._student = context.student
        self._batch = context.batch
        self._mapped = mapped
        self._shares = EndShares.of(bridge.stops, context)
        self._strict = StrictScores(inner, bridge, context.temperature)

    @property
    def tokenizer(self) -> Any:
        """The student's, whose ids it scores."""
        return self._student.tokenizer

    @property
    def vocabulary(self) -> int:
        """The student's."""
        return self._student.vocabulary

    @property
    def stop_ids(self) -> frozenset[int]:
        """The student's."""
        return self._student.stop_ids

    def check(self, student: LanguageModel) -> None:
        """Does nothing: all checks were made on opening."""

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """The teacher itself. Raises UserError if another teacher restricts the student to fewer ids than it has."""
        if vocabulary < self.vocabulary:
            raise UserError(
                f"teacher={self.name} is retokenized for all of the student's {self.vocabulary} ids, and another "
                f"teacher of the run has {vocabulary}"
            )
        return self

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`. `scored` marks the tokens of loss_mask that could be scored."""
        found = score_in_batches(self._mapped, rollout, loss_mask, request, self._batch)
        return found if self._shares is None else self._shares.applied(found, rollout, loss_mask)

    @torch.no_grad()
    def shared_mass(self, rollout: Rollout) -> float | None:
        """See `StrictScores`."""
        return self._strict.shared_mass(rollout)
