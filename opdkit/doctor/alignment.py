"""Measures how much of the student's responses a teacher with a different tokenizer can score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from opdkit.doctor.report import Grid, Note, Section, listed, percent
from opdkit.doctor.sides import Pair, Side
from opdkit.doctor.special_tokens import spelled
from opdkit.errors import UserError
from opdkit.tokenization import Group, SharedVocabulary, TokenBytes, align, respell, shared_vocabulary, token_bytes

_SHOWN = 10
_FEW = 0.7
_SMALL_MASS = 0.98


@dataclass
class Coverage:
    """Token counts over some responses.

    Attributes:
        tokens: sampled tokens. strict: those that align with a single teacher token and are shared.
        unspelled: responses that the teacher's tokenizer can't reproduce; none of their tokens is scored.
        lost: counts of (student tokens, teacher tokens) of the other alignment groups.
    """

    tokens: int = 0
    strict: int = 0
    unspelled: int = 0
    lost: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(
        default_factory=Counter[tuple[tuple[str, ...], tuple[str, ...]]]
    )

    @property
    def share(self) -> float:
        """Fraction of sampled tokens that are strict."""
        return self.strict / max(1, self.tokens)


def alignment(pair: Pair, responses: Sequence[Sequence[int]], shared_mass: float | None = None) -> Section:
    """responses: sampled ids, one sequence per rollout. shared_mass: mean teacher probability of the shared ids over
    positions, None if no weights were loaded (`SharedVocabulary.mass`)."""
    try:
        ours, theirs = (_table(side) for side in (pair.student, pair.teacher))
    except UserError as error:
        return Section("alignment", (Note("stop", str(error), "choose a teacher whose tokenizer preserves text"),))
    shared = shared_vocabulary(ours, theirs, (_rows(pair.student, ours), _rows(pair.teacher, theirs)))
    found = coverage(pair, (ours, theirs), shared, responses)
    notes = [_of_tokens(found), _of_vocabularies(ours, theirs, shared)]
    notes += _of_mass(shared_mass)
    if not {*ours.roles.values()} & {*theirs.roles.values()}:
        notes.append(Note("warning", "one of the two has no stop token: the end of a response is not trained"))
    if found.unspelled:
        told = f"{found.unspelled} of {len(responses)} responses can't be written by the teacher's tokenizer unchanged"
        notes.append(Note("warning", told))
    rows = tuple(
        ("".join(mine), spelled(mine), spelled(other), str(times))
        for (mine, other), times in found.lost.most_common(_SHOWN)
    )
    grids = (Grid(("lost text", "student wrote", "teacher's tokens", "times"), rows),) if rows else ()
    return Section(f"alignment in {len(responses)} sample rollouts", tuple(notes), grids)


def coverage(
    pair: Pair, tables: tuple[TokenBytes, TokenBytes], shared: SharedVocabulary, responses: Sequence[Sequence[int]]
) -> Coverage:
    """How much of the responses can be compared token by token, and what can not."""
    ours, theirs = tables
    found = Coverage()
    for ids in responses:
        found.tokens += len(ids)
        written = respell(ids, ours, theirs, pair.teacher.tokenizer)
        if written is None:
            found.unspelled += 1
            continue
        for group in align(ours.symbols(ids), theirs.symbols(written)).groups:
            first = ids[group.student.start]
            if group.strict and int(shared.to_teacher[first]) == written[group.teacher.start]:
                found.strict += 1
            else:
                found.lost[_texts(group, ids, written, tables)] += 1
    return found


def _texts(
    group: Group, ids: Sequence[int], written: Sequence[int], tables: tuple[TokenBytes, TokenBytes]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    sides = ((group.student, ids, tables[0]), (group.teacher, written, tables[1]))
    mine, other = (tuple(table.of(of[n]).decode(errors="replace") for n in span) for span, of, table in sides)
    return mine, other


def _table(side: Side) -> TokenBytes:
    stops = side.stop_ids
    if stops is None:
        stops = frozenset() if side.tokenizer.eos_token_id is None else frozenset({int(side.tokenizer.eos_token_id)})
    return token_bytes(side.tokenizer, side.name).with_stops(sorted(stops))


def _rows(side: Side, table: TokenBytes) -> int:
    return len(table.strings) if side.rows is None else side.rows


def _of_tokens(found: Coverage) -> Note:
    told = (
        f"{percent(found.share)} of {found.tokens:,} sampled tokens stand against one token of the teacher's "
        "with the same text (strict)"
    )
    return Note(
        "ok" if found.share >= _FEW else "warning",
        told,
        "" if found.share >= _FEW else "teacher.mode=byte_filter also scores the others",
    )


def _of_vocabularies(ours: TokenBytes, theirs: TokenBytes, shared: SharedVocabulary) -> Note:
    mine, other = len(set(ours.ids)), len(set(theirs.ids))
    same = sum(int(index) not in ours.roles for index in shared.student_ids)
    told = f"{same:,} tokens have the same bytes, of {mine:,} of the student's and {other:,} of the teacher's"
    alone = [text.decode(errors="replace") for text in ours.ids if text not in theirs.ids]
    return Note("ok", told + (f"; the teacher lacks {listed(alone, 3)}" if alone else ""))


def _of_mass(mass: float | None) -> list[Note]:
    if mass is None:
        return []
    told = f"the shared ids hold {percent(mass)} of the teacher's probability, a mean over the strict positions"
    return [Note("ok" if mass >= _SMALL_MASS else "warning", told)]
