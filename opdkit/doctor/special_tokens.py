"""Compares special tokens, stop tokens and tags of the two tokenizers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from opdkit.doctor.report import Grid, Note, Section, listed
from opdkit.doctor.sides import Pair, Side
from opdkit.masking import Vocabularies, split, treated_alike

TAGS = (
    "<think>", "</think>", "<answer>", "</answer>", "<tool_call>", "</tool_call>",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>",
)  # fmt: skip
"""Common special strings of chat and reasoning models."""

_ROLES = ("bos", "eos", "pad", "unk")
_SHOWN = 12


def special_tokens(pair: Pair, masked: Sequence[str]) -> Section:
    """masked: the strings that the run's masking rule already masks."""
    notes: list[Note] = []
    rows: list[tuple[str, ...]] = []
    for role in _ROLES:
        ours, theirs = (_named(side, role) for side in (pair.student, pair.teacher))
        if ours or theirs:
            rows.append((role, ours or "none", theirs or "none"))
    notes += _endings(pair)
    grids = [Grid(("", "student", "teacher"), tuple(rows))] if rows else []
    differing = unlike(pair, [*TAGS, *masked])
    if differing:
        grids.append(Grid(("tag", "student", "teacher"), tuple(differing[:_SHOWN])))
        open_tags = [tag for tag, _, _ in differing if tag not in masked]
        if open_tags:
            notes.append(
                Note(
                    "warning",
                    f"the two tokenizers split {listed(open_tags)} differently",
                    f"if they occur: {masked_out([*masked, *open_tags])}",
                )
            )
    else:
        notes.append(Note("ok", f"both write all of {len(TAGS)} common tags and their own special tokens identically"))
    return Section("special tokens", tuple(notes), tuple(grids))


def unlike(pair: Pair, strings: Iterable[str]) -> list[tuple[str, str, str]]:
    """(string, student tokens, teacher tokens) of those strings, and of either model's special tokens, that the two
    tokenize differently or that are special to only one of them."""
    ours, theirs = pair.student.tokenizer, pair.teacher.tokenizer
    vocabularies = Vocabularies(ours, theirs)
    found: list[tuple[str, str, str]] = []
    for text in dict.fromkeys((*strings, *_special(ours), *_special(theirs))):
        if not treated_alike(text, vocabularies):
            found.append((text, _written(text, ours), _written(text, theirs)))
    return found


def _special(tokenizer: Any) -> Iterable[str]:
    """Special and added tokens: both are matched before text is split."""
    return (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab())


def masked_out(strings: Sequence[str]) -> str:
    """The overrides that mask `strings`, quoted for a shell."""
    quoted = ", ".join('"' + string.replace("\\", "\\\\").replace('"', '\\"') + '"' for string in strings)
    return shlex.join(["masking=special_spans", f"masking.strings=[{quoted}]"])


def spelled(pieces: Sequence[str]) -> str:
    """Tokens joined for display."""
    return " | ".join(pieces)


def _written(text: str, tokenizer: Any) -> str:
    pieces = split(text, tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    special = len(ids) == 1 and ids[0] in tokenizer.all_special_ids
    return spelled(pieces) + (" (special)" if special else "")


def _named(side: Side, role: str) -> str | None:
    text, index = (getattr(side.tokenizer, f"{role}_token{end}", None) for end in ("", "_id"))
    return None if text is None else f"{text} ({index})"


def _endings(pair: Pair) -> list[Note]:
    """Compares stop tokens: a stop token that the teacher never uses is penalised at the end of every response."""
    ours, theirs = (_stops(side) for side in (pair.student, pair.teacher))
    names = listed(pair.student.token(i) for i in sorted(ours))
    if not ours:
        told = "the student has no end-of-sequence token: every response runs to rollout.max_new_tokens"
        return [Note("warning", told, "set eos_token in its tokenizer, or eos_token_id in its generation config")]
    if not ours & theirs:
        told = f"the student stops with {names}, the teacher with {listed(map(pair.teacher.token, sorted(theirs)))}"
        ending = [pair.student.token(i) for i in sorted(ours)]
        return [Note("warning", told, f"{masked_out(ending)} masks the ending")]
    return [Note("ok", f"both can end a response with {listed(pair.student.token(i) for i in sorted(ours & theirs))}")]


def _stops(side: Side) -> frozenset[int]:
    if side.stop_ids is not None:
        return side.stop_ids
    found = side.tokenizer.eos_token_id
    return frozenset() if found is None else frozenset({int(found)})
