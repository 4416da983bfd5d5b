"""Re-renders a student's rollout with the teacher's chat template and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from opdkit.data.problem import Message
from opdkit.data.rollout import Prompts, Rollout, StopReason
from opdkit.errors import UserError
from opdkit.models import LanguageModel
from opdkit.models.template import chat_text
from opdkit.teachers.base import OpenTeacher
from opdkit.teachers.stops import Stops
from opdkit.tokenization import SharedVocabulary, Symbols, TokenBytes, respell, shared_vocabulary, token_bytes


@dataclass(frozen=True)
class Retokenized:
    """The same responses as ids of both tokenizers.

    Attributes:
        rollout: the teacher's rollout, with prompts rendered by its own template. A response that its tokenizer can't
            encode is empty.
        student_ids: the sampled ids of each row.
        teacher_ids: the teacher's ids of each row.
    """

    rollout: Rollout
    student_ids: list[list[int]]
    teacher_ids: list[list[int]]


@dataclass(frozen=True)
class Bridge:
    """Converts rollouts between two tokenizers.

    Attributes:
        student: the bytes of the student's tokens, with its stop tokens marked by a role.
        teacher: the same for the teacher.
        shared: the pairs of ids with the same meaning.
        same: whether the two tokenizers are equal. Then the sampled ids are kept, except for differing stop ids.
    """

    student: TokenBytes
    teacher: TokenBytes
    shared: SharedVocabulary
    same: bool
    _tokenizer: Any
    _name: str
    _template_kwargs: Mapping[str, object]

    @classmethod
    def between(cls, student: LanguageModel, teacher: OpenTeacher, template_kwargs: Mapping[str, object]) -> Bridge:
        """template_kwargs: variables of the teacher's chat template.

        Raises UserError for a tokenizer that can't be aligned, and for two without a common token.
        """
        ours, theirs = token_bytes(student.tokenizer, student.name), token_bytes(teacher.tokenizer, teacher.name)
        same = ours == theirs and student.vocabulary == teacher.vocabulary
        if not same or student.stop_ids != teacher.stop_ids:
            ours = ours.with_stops(_one_first(student.stop_ids, student.tokenizer))
            theirs = theirs.with_stops(_one_first(teacher.stop_ids, teacher.tokenizer))
        if same:
            ours, theirs = (one.with_roles({**one.special, **one.roles}) for one in (ours, theirs))
        shared = shared_vocabulary(ours, theirs, (student.vocabulary, teacher.vocabulary))
        if not len(shared):
            raise UserError(f"model={student.name} and teacher={teacher.name} have no token in common")
        return cls(ours, theirs, shared, same, teacher.tokenizer, teacher.name, template_kwargs)

    def with_one_stop(self) -> Bridge:
        """The same bridge with only the teacher's first stop id, for a teacher that can't score the others."""
        return replace(self, teacher=replace(self.teacher, roles=dict(list(self.teacher.roles.items())[:1])))

    @property
    def stops(self) -> Stops:
        """The stop ids of both models; empty if the tokenizers and stop ids are equal."""
        return Stops.of(self.student, self.teacher)

    def retell(self, rollout: Rollout) -> Retokenized:
        """Re-tokenise a rollout. Raises UserError for episodes, whose environment tokens are not supported."""
        if rollout.environment_mask is not None:
            raise UserError("teacher=retokenized scores answers to one prompt; games need one of the same tokens")
        ours = [row[mask].tolist() for row, mask in zip(rollout.tokens, rollout.sampled_mask, strict=True)]
        theirs = [self._with_their_stop(row) if self.same else self._respelled(row) for row in ours]
        prompts = [self._prompt(problem.messages) for problem in rollout.prompts.problems]
        ids, mask = _padded(prompts, self._pad, rollout.tokens.device, left=True)
        given = Prompts(ids, mask, rollout.prompts.problems)
        return Retokenized(self._rollout(given, theirs, rollout.stop_reason), ours, theirs)

    def rows(self, pair: Retokenized, rows: Sequence[int], responses: Sequence[Sequence[int]]) -> Rollout:
        """A rollout of other responses, in the teacher's ids, to the prompts of the given rows."""
        prompts, which = pair.rollout.prompts, list(rows)
        given = Prompts(prompts.ids[which], prompts.attention_mask[which], tuple(prompts.problems[r] for r in rows))
        return self._rollout(given, responses, tuple(pair.rollout.stop_reason[row] for row in rows))

    def _rollout(
        self, prompts: Prompts, responses: Sequence[Sequence[int]], reasons: tuple[StopReason, ...]
    ) -> Rollout:
        tokens, sampled = _padded(responses, self._pad, prompts.ids.device)
        zeros = torch.zeros(tokens.shape, device=tokens.device)
        return Rollout(prompts, tokens, sampled, zeros, zeros, reasons)

    def symbols(self, student_ids: Sequence[int], teacher_ids: Sequence[int]) -> tuple[list[Symbols], list[Symbols]]:
        """The symbols of each token of a row, in the byte stream common to both tokenizers."""
        return self.student.symbols(student_ids), self.teacher.symbols(teacher_ids)

    def _with_their_stop(self, ids: list[int]) -> list[int]:
        stops = self.stops
        if not (stops.ours and stops.theirs):
            return ids
        return [stops.theirs[0] if index in stops.ours else index for index in ids]

    def _respelled(self, ids: Sequence[int]) -> list[int]:
        return respell(ids, self.student, self.teacher, self._tokenizer) or []

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        if self._tokenizer.chat_template is None:
            return self._tokenizer.encode("\n".join(message.content for message in messages))
        text = chat_text(self._tokenizer, messages, self._name, self._template_kwargs)
        return self._tokenizer.encode(text, add_special_tokens=False)

    @property
    def _pad(self) -> int:
        known = (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id)
        return next((int(index) for index in known if index is not None), 0)


def _one_first(stops: frozenset[int], tokenizer: Any) -> list[int]:
    """The stop ids, the tokenizer's end of sequence first, which represents all of them in the other vocabulary."""
    own = tokenizer.eos_token_id
    return sorted(stops, key=lambda index: (index != own, index))


def _padded(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """ids i64[B, T] and mask bool[B, T], right-padded, or left-padded with `left`."""
    width = max(1, *(len(row) for row in rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[index, place] = torch.tensor(row, dtype=torch.long)
        mask[index, place] = True
    return ids.to(device), mask.to(device)
