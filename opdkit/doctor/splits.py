"""Compares the student's tokens with the teacher's tokenization of the same text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from opdkit.doctor.report import Grid, Note, Section, listed, percent
from opdkit.doctor.sides import Pair
from opdkit.doctor.special_tokens import masked_out, spelled
from opdkit.masking import Pieces

_SHOWN = 10
_MANY = 0.01


@dataclass(frozen=True)
class Respelling:
    """A string with its sampled tokens and its tokenization by the teacher."""

    text: str
    student: tuple[str, ...]
    teacher: tuple[str, ...]

    @property
    def is_tag(self) -> bool:
        """Whether the string is part of a tag rather than prose."""
        return "<" in self.text or ">" in self.text


def splits(pair: Pair, responses: Sequence[Sequence[int]], masked: Sequence[str]) -> Section:
    """responses: sampled ids, one sequence per rollout. Another split is unlikely to the teacher, even of right
    text: the paper's student writes `<`, `think`, `>` where its teacher expects `<th`, `ink`, `>`."""
    ours, theirs = Pieces(pair.student.tokenizer), Pieces(pair.teacher.tokenizer)
    times: Counter[Respelling] = Counter()
    rollouts: Counter[Respelling] = Counter()
    changed = 0
    for ids in responses:
        written = ours.joined(ids)
        text = "".join(written)
        expected = theirs.joined(pair.teacher.tokenizer.encode(text, add_special_tokens=False))
        if "".join(expected) != text:
            changed += 1
            continue
        found = list(respellings(written, expected))
        times.update(found)
        rollouts.update(set(found))
    notes = [_summary_note(times, sum(map(len, responses)), masked)]
    if changed:
        told = f"{changed} of {len(responses)} responses are changed by the teacher's tokenizer (normalised, or cut)"
        notes.append(Note("warning", told))
    rows = tuple(
        (one.text, spelled(one.student), spelled(one.teacher), str(count), f"{rollouts[one]} of {len(responses)}")
        for one, count in times.most_common(_SHOWN)
    )
    grids = (Grid(("text", "student wrote", "teacher's tokens", "times", "rollouts"), rows),) if rows else ()
    return Section(f"splits in {len(responses)} sample rollouts", tuple(notes), grids)


def respellings(written: Sequence[str], expected: Sequence[str]) -> Iterable[Respelling]:
    """The shortest parts of a text on which two tokenizations differ. Both join to the same text."""
    ours, theirs = (list(accumulate(map(len, pieces))) for pieces in (written, expected))
    shared = sorted(set(ours) & set(theirs))
    start, mine, other = 0, 0, 0
    for end in shared:
        next_mine, next_other = _behind(ours, mine, end), _behind(theirs, other, end)
        left, right = tuple(written[mine:next_mine]), tuple(expected[other:next_other])
        if end > start and left != right:
            yield Respelling("".join(left), left, right)
        start, mine, other = end, next_mine, next_other


def _behind(ends: Sequence[int], start: int, end: int) -> int:
    """The number of pieces that end at or before `end`."""
    while start < len(ends) and ends[start] <= end:
        start += 1
    return start


def _summary_note(times: Counter[Respelling], tokens: int, masked: Sequence[str]) -> Note:
    affected = sum(len(one.student) * count for one, count in times.items())
    if not affected:
        return Note("ok", f"all {tokens:,} sampled tokens are those that the teacher's tokenizer gives")
    share = affected / max(1, tokens)
    told = f"{percent(share)} of {tokens:,} sampled tokens are not those that the teacher's tokenizer gives"
    tags = [one.text for one, _ in times.most_common() if one.is_tag and one.text not in masked]
    if tags:
        return Note("warning", f"{told}, among them {listed(tags)}", masked_out([*masked, *tags[:_SHOWN]]))
    return Note("warning" if share > _MANY else "ok", told)
