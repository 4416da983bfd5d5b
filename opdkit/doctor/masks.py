"""Counts the tokens that each masking rule would mask in a few rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from opdkit.data.rollout import Rollout
from opdkit.doctor.report import Grid, Note, Section, percent
from opdkit.masking import Masking, Pieces, Vocabularies

_SHOWN = 5
_TOO_MUCH = 0.9


def masks(rollout: Rollout, vocabularies: Vocabularies, rules: Mapping[str, Masking], chosen: str) -> Section:
    """rules: name -> rule; chosen: the name of the run's rule."""
    pieces = Pieces(vocabularies.student)
    total = max(1, int(rollout.sampled_mask.sum()))
    rows: list[tuple[str, ...]] = []
    notes: list[Note] = []
    for name, rule in rules.items():
        left_out = rollout.sampled_mask & ~rule(rollout, vocabularies)
        texts = Counter(pieces.of(rollout.tokens[left_out].tolist()))
        share = int(left_out.sum()) / total
        most = ", ".join(f"{text!r} x {count}" for text, count in texts.most_common(_SHOWN))
        rows.append((name + (" (chosen)" if name == chosen else ""), percent(share), most))
        if name == chosen:
            level = "warning" if share > _TOO_MUCH else "ok"
            notes.append(Note(level, f"the run's masking leaves out {percent(share)} of {total:,} sampled tokens"))
    return Section("masking", tuple(notes), (Grid(("rule", "left out", "most often"), tuple(rows)),))
