"""Checks whether two tokenizers assign the same tokens to the same ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opdkit.errors import UserError


@dataclass(frozen=True)
class VocabularyComparison:
    """The differences between two vocabularies.

    Attributes:
        conflicts: (id, student's token, teacher's token) where the two differ.
        only_student: ids that only the student has (added tokens of a fine-tune).
        only_teacher: ids that only the teacher has.
    """

    conflicts: tuple[tuple[int, str, str], ...]
    only_student: tuple[int, ...]
    only_teacher: tuple[int, ...]


def compare(student: Any, teacher: Any) -> VocabularyComparison:
    """Compare two tokenizers id by id."""
    ours = {index: token for token, index in student.get_vocab().items()}
    theirs = {index: token for token, index in teacher.get_vocab().items()}
    both = sorted(ours.keys() & theirs.keys())
    conflicts = tuple((i, ours[i], theirs[i]) for i in both if ours[i] != theirs[i])
    return VocabularyComparison(
        conflicts, tuple(sorted(ours.keys() - theirs.keys())), tuple(sorted(theirs.keys() - ours.keys()))
    )


def require_same(student: Any, teacher: Any, names: tuple[str, str]) -> VocabularyComparison:
    """Raises UserError, naming tokens, if an id means different tokens or a range of ids is missing."""
    found = compare(student, teacher)
    if found.conflicts:
        shown = "; ".join(f"id {i} is {ours!r} there and {theirs!r} here" for i, ours, theirs in found.conflicts[:3])
        raise UserError(
            f"model={names[0]} and teacher={names[1]} disagree on {len(found.conflicts)} tokens of their "
            f"vocabularies, so a token can't be scored: {shown} (student, teacher)"
        )
    shared = len(student.get_vocab()) - len(found.only_student)
    if shared < max(1, len(student.get_vocab()) // 2):
        token = {i: t for t, i in teacher.get_vocab().items()} | {i: t for t, i in student.get_vocab().items()}
        odd = (found.only_student or found.only_teacher)[0]
        raise UserError(
            f"model={names[0]} and teacher={names[1]} share {shared} tokens only "
            f"(id {odd}, {token[odd]!r}, is known to one of them)"
        )
    return found
