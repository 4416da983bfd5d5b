"""Checks whether both models map ids to the same tokens, distinguishing lm_head padding from real differences."""

from __future__ import annotations

from opdkit.doctor.report import Grid, Note, Section, listed
from opdkit.doctor.sides import Pair, Side
from opdkit.models.vocabulary import VocabularyComparison, compare

_SHOWN = 8


def vocabulary(pair: Pair) -> Section:
    """Compares both vocabularies id by id. A stop here is what `train` refuses."""
    found = compare(pair.student.tokenizer, pair.teacher.tokenizer)
    known = len(pair.student.tokenizer.get_vocab())
    shared = known - len(found.only_student) - len(found.conflicts)
    notes: list[Note] = []
    grids: tuple[Grid, ...] = ()
    if found.conflicts:
        told = f"{len(found.conflicts):,} ids mean different tokens; {shared:,} mean the same"
        notes.append(Note("stop", told, "choose a teacher with the student's vocabulary, or teacher=retokenized"))
        rows = tuple((str(i), ours, theirs) for i, ours, theirs in found.conflicts[:_SHOWN])
        grids = (Grid(("id", "student", "teacher"), rows),)
    elif shared < max(1, known // 2):
        notes.append(Note("stop", f"only {shared:,} of {known:,} ids are known to both", "choose another teacher"))
    else:
        notes += _difference(pair, found, shared)
    notes += [*_padding(pair.student, "student"), *_padding(pair.teacher, "teacher")]
    notes += _cut(pair)
    return Section("token ids", tuple(notes), grids)


def _difference(pair: Pair, found: VocabularyComparison, shared: int) -> list[Note]:
    if not found.only_student and not found.only_teacher:
        return [Note("ok", f"all {shared:,} ids mean the same tokens")]
    notes = [Note("ok", f"{shared:,} ids mean the same tokens, none mean different ones")]
    for ids, owner, other in (
        (found.only_student, pair.student, "teacher"),
        (found.only_teacher, pair.teacher, "student"),
    ):
        if ids:
            told = f"{len(ids):,} tokens are unknown to the {other}: {listed(owner.token(i) for i in ids)}"
            advice = "" if other == "student" else "masking=special_spans masks them where they occur"
            notes.append(Note("warning" if other == "teacher" else "ok", told, advice))
    return notes


def _padding(side: Side, who: str) -> list[Note]:
    """Reports lm_head rows that pad to a round size and are not tokens."""
    if side.rows is None:
        return []
    highest = max(side.tokenizer.get_vocab().values()) + 1
    if side.rows < highest:
        told = f"the {who}'s lm_head has {side.rows:,} rows for {highest:,} ids; the last ones can't be generated"
        return [Note("warning", told)]
    if side.rows == highest:
        return []
    told = f"{side.rows - highest:,} of {side.rows:,} rows of the {who}'s lm_head are padding, not tokens"
    return [Note("ok", told)]


def _cut(pair: Pair) -> list[Note]:
    """Reports ids that only one head has: both models are compared on the shared ids."""
    if pair.student.rows is None or pair.teacher.rows is None:
        return []
    kept = min(pair.student.rows, pair.teacher.rows)
    lost = [i for i in pair.student.tokenizer.get_vocab().values() if i >= kept]
    if not lost:
        return []
    names = listed(pair.student.token(i) for i in sorted(lost))
    return [Note("warning", f"the teacher's head has {kept:,} rows: the student can't write {names}")]
