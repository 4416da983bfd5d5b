"""Renders one prompt with both chat templates and compares how turns end."""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.data.problem import Message
from opdkit.doctor.report import Note, Section
from opdkit.doctor.sides import Pair, Side
from opdkit.errors import UserError
from opdkit.models.template import chat_text

# A marker that no template produces.
_ANSWER = "ANSWER-OF-A-TURN"
_BEFORE, _AFTER = 60, 240


def templates(pair: Pair, messages: Sequence[Message]) -> Section:
    """messages: a real prompt of the task. The teacher always scores the student's rendering of it."""
    texts: list[str] = []
    notes: list[Note] = []
    for side, who in ((pair.student, "student"), (pair.teacher, "teacher")):
        try:
            texts.append(_rendered(side, messages))
        except UserError as error:
            level = "stop" if who == "student" else "warning"
            notes.append(Note(level, str(error), "task.system=null, if the task has a system message"))
            continue
        if side.tokenizer.chat_template is None:
            notes.append(Note("warning", f"the {who} has no chat template: prompts are plain text"))
        elif (note := _ending(side, who, messages)) is not None:
            notes.append(note)
    if len(texts) < 2:
        return Section("chat templates", tuple(notes))
    ours, theirs = texts
    if ours == theirs:
        notes.insert(0, Note("ok", "both render the prompt identically"))
        return Section("chat templates", tuple(notes), sides=(("both", _window(ours, 0)),))
    place = first_difference(ours, theirs)
    told = (
        f"the prompt differs from character {place + 1}: {_at(ours, place)} (student), {_at(theirs, place)} (teacher)"
    )
    advice = "the teacher is prompted with the student's rendering; task.system= can often align the two"
    notes.insert(0, Note("warning", told, advice))
    return Section(
        "chat templates", tuple(notes), sides=(("student", _window(ours, place)), ("teacher", _window(theirs, place)))
    )


def _rendered(side: Side, messages: Sequence[Message]) -> str:
    if side.tokenizer.chat_template is None:
        return "\n".join(message.content for message in messages)
    return chat_text(side.tokenizer, messages, side.name, side.template_kwargs)


def first_difference(one: str, other: str) -> int:
    """Index of the first differing character; the shorter length if one is a prefix of the other."""
    shared = min(len(one), len(other))
    return next((i for i in range(shared) if one[i] != other[i]), shared)


def _ending(side: Side, who: str, messages: Sequence[Message]) -> Note | None:
    """Checks that the token with which the template ends an answer is a stop token."""
    chat = [*messages, Message("assistant", _ANSWER)]
    try:
        text = chat_text(side.tokenizer, chat, side.name, side.template_kwargs, awaits=False)
    except UserError:
        return None
    tail = text.rpartition(_ANSWER)[2]
    ids = side.tokenizer.encode(tail, add_special_tokens=False)
    stops = side.stop_ids if side.stop_ids is not None else {side.tokenizer.eos_token_id}
    if ids and ids[0] in stops:
        return None
    what = (
        f"ends an answer with {side.token(ids[0])!r}, which is not a stop token"
        if ids
        else "ends an answer without a token"
    )
    advice = "set eos_token_id in its generation config, or responses run on" if who == "student" else ""
    return Note("warning" if who == "student" else "ok", f"the {who}'s template {what}", advice)


def _at(text: str, place: int) -> str:
    return repr(text[place : place + 24]) if place < len(text) else "nothing more"


def _window(text: str, place: int) -> str:
    """The text around `place`, with ellipses where truncated."""
    start = max(0, place - _BEFORE)
    stop = place + _AFTER
    return ("…" if start else "") + text[start:stop] + ("…" if stop < len(text) else "")
