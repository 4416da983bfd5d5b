"""A teacher that scores the same response after a different, privileged prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.data.template import fill, template_fields
from opdkit.errors import UserError
from opdkit.generation import pad_prompts
from opdkit.models import LanguageModel, Request
from opdkit.teachers.base import Capabilities, OpenTeacher, Teacher, TeacherContext
from opdkit.teachers.wrapped import WrappedTeacher


@dataclass(frozen=True)
class PrivilegedTeacher:
    """Scores the student's response ids after a prompt with privileged information.

    A row whose prompt can't be rendered (a missing field, no other correct response in its group) or is too long is not
    scored: its tokens leave the loss, and it is counted in the metrics.

    Attributes:
        inner: the teacher that scores, often the student itself.
        template: replaces the last user turn. {question} is that turn, {answer} the gold answer, {sibling} another,
            correct response of the group, any other name a key of `Problem.context` (see `Problem.text`).
        system: replaces the problem's system turn, with fields as in `template`. None keeps it.
        max_prompt_tokens: the maximum length of the prompt.
    """

    inner: Any
    template: str
    system: str | None = None
    max_prompt_tokens: int = 1024

    def __post_init__(self) -> None:
        if "question" not in template_fields(self.template):
            raise UserError(f"teacher.template={self.template!r} has no {{question}}: the teacher would not see it")
        if self.max_prompt_tokens < 1:
            raise UserError(f"teacher.max_prompt_tokens={self.max_prompt_tokens}: must be at least 1")
        if isinstance(self.inner, PrivilegedTeacher):
            raise UserError("teacher.inner is a privileged teacher itself: write one template for both")

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return f"privileged {self.inner.path}"

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the template and the system turn."""
        return frozenset(template_fields(self.template) | template_fields(self.system or ""))

    @property
    def capabilities(self) -> Capabilities:
        """The inner teacher's, without responses, since an engine is given the student's prompt."""
        return replace(self.inner.capabilities, text=False, reads=self.fields)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`."""
        inner: Teacher = self.inner
        return OpenPrivilegedTeacher(inner.open(context), self, context.student)

    def messages(self, problem: Problem) -> tuple[Message, ...] | None:
        """The teacher's chat, None if the problem lacks a field."""
        found = {name: problem.text(name) for name in self.fields}
        fields = {name: text for name, text in found.items() if text is not None}
        if len(fields) < len(found):
            return None
        turns = [*problem.messages[:-1], Message("user", fill(self.template, fields))]
        if self.system is not None:
            turns = [turn for turn in turns if turn.role != "system"]
            turns.insert(0, Message("system", fill(self.system, fields)))
        return tuple(turns)


class OpenPrivilegedTeacher(WrappedTeacher):
    """Replaces the prompts of a rollout and passes it to the inner teacher."""

    def __init__(self, inner: OpenTeacher, spec: PrivilegedTeacher, student: LanguageModel) -> None:
        super().__init__(inner)
        self._spec = spec
        self._student = student
        self._metrics: dict[str, float] = {}

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self._spec.path

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        return OpenPrivilegedTeacher(self._inner.restricted(vocabulary), self._spec, self._student)

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`. The given rollout and the student's prompts are not modified."""
        shown = [self._spec.messages(problem) for problem in rollout.prompts.problems]
        rendered = [None if turns is None else self._student.render(turns) for turns in shown]
        lengths = rollout.attention_mask.sum(dim=1).tolist()
        fits = [ids is not None and self._fits(len(ids), n) for ids, n in zip(rendered, lengths, strict=True)]
        self._count(rendered, fits)
        fitting = torch.tensor(fits, device=loss_mask.device)[:, None]
        scores = self._inner.score(self._with_prompts(rollout, shown, rendered, fits), loss_mask & fitting, request)
        return replace(scores, scored=fitting & (loss_mask if scores.scored is None else scores.scored))

    def _with_prompts(
        self,
        rollout: Rollout,
        shown: Sequence[tuple[Message, ...] | None],
        rendered: Sequence[list[int] | None],
        fits: Sequence[bool],
    ) -> Rollout:
        """The rollout with the teacher's prompts; rows without one keep the student's, as a placeholder."""
        prompts = rollout.prompts
        ids: list[list[int]] = []
        problems: list[Problem] = []
        for row, problem in enumerate(prompts.problems):
            turns, own = shown[row], rendered[row]
            if fits[row] and turns is not None and own is not None:
                ids.append(own)
                problems.append(replace(problem, messages=turns))
            else:
                ids.append(prompts.ids[row][prompts.attention_mask[row]].tolist())
                problems.append(problem)
        return replace(rollout, prompts=pad_prompts(self._student, ids, problems))

    def _fits(self, prompt: int, response: int) -> bool:
        """Whether the prompt is within the limit, and prompt plus response within the model's maximum length."""
        known = self._student.positions
        return prompt <= self._spec.max_prompt_tokens and (known is None or prompt + response <= known)

    def _count(self, rendered: Sequence[list[int] | None], fits: Sequence[bool]) -> None:
        written = [len(ids) for ids in rendered if ids is not None]
        self._metrics = {
            "prompts_without_field": float(len(rendered) - len(written)),
            "prompts_too_long": float(len(written) - sum(fits)),
            "prompt_length_mean": sum(written) / len(written) if written else 0.0,
        }

    def metrics(self) -> Mapping[str, float]:
        """See `OpenTeacher`."""
        return {**self._inner.metrics(), **self._metrics}
