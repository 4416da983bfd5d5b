"""A chat as ids, turn by turn, against the whole chat rendered at once."""

from __future__ import annotations

import pytest

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.models import ChatFrame, LanguageModel, ModelSpec, load
from tests.tiny import tiny_model

OPENING = (Message("system", "Play."), Message("user", "You are in a room."))
CHATML = (
    "{% for m in messages %}<user>{{ m['role'] }}\n{{ m['content'] | trim }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<user>assistant\n{% endif %}"
)
SPACED = CHATML.replace("<eos>", " <eos>")
FORGETFUL = (
    "{% for m in messages %}{% if m['role'] != 'assistant' or loop.index > 3 %}{{ m['role'] }}:{{ m['content'] }}"
    "<eos>{% endif %}{% endfor %}assistant:"
)
SYSTEM_LAST = (
    "{% for m in messages %}{% if m['role'] != 'system' %}"
    "{% if loop.last %}{{ messages[0]['content'] }}{% endif %}<user>{{ m['content'] }}<eos>{% endif %}{% endfor %}"
)


def templated(template: str | None) -> LanguageModel:
    model = tiny_model(0)
    model.tokenizer.chat_template = template
    return model


def joined(model: LanguageModel, answers: list[str], replies: list[str], stop: bool = True) -> list[int]:
    """The ids of a chat put together turn by turn."""
    frame = ChatFrame(model, OPENING)
    ids = model.render(OPENING)
    for answer, reply in zip(answers, replies, strict=True):
        sampled = model.tokenizer.encode(answer, add_special_tokens=False) + ([257] if stop else [])
        ids += sampled + frame.between(Message("user", reply), sampled)
    return ids


def whole(model: LanguageModel, answers: list[str], replies: list[str]) -> list[int]:
    turns = [Message(*pair) for a, r in zip(answers, replies, strict=True) for pair in (("assistant", a), ("user", r))]
    return model.render([*OPENING, *turns])


@pytest.mark.parametrize("template", [CHATML, tiny_model(0).tokenizer.chat_template])
@pytest.mark.parametrize("stop", [True, False])
def test_turn_by_turn_is_the_whole_chat(template: str, stop: bool) -> None:
    model = templated(template)
    answers, replies = ["go north", "take <key>", "x"], ["A hall.", "Taken.  <eos> is no stop of yours.", "?"]
    assert joined(model, answers, replies, stop) == whole(model, answers, replies)


def test_the_embedded_student_too() -> None:
    model = load(ModelSpec("embedded/student"))
    stop = model.tokenizer.eos_token_id
    frame = ChatFrame(model, OPENING)
    ids = model.render(OPENING)
    for answer in ("one", "two"):
        sampled = [*model.tokenizer.encode(answer, add_special_tokens=False), stop]
        ids += sampled + frame.between(Message("user", "so?"), sampled)
    assert ids == whole(model, ["one", "two"], ["so?", "so?"])


def test_a_space_that_the_template_puts_before_the_stop_token_is_not_put_behind_it() -> None:
    model = templated(SPACED)
    said = model.tokenizer.decode(joined(model, ["go"], ["A hall."]))
    assert "go<eos>\n<user>user\nA hall. <eos>" in said
    cut = model.tokenizer.decode(joined(model, ["go"], ["A hall."], stop=False))
    assert "go <eos>\n<user>user\nA hall. <eos>" in cut


@pytest.mark.parametrize("template", [FORGETFUL, SYSTEM_LAST])
def test_a_template_that_rewrites_earlier_turns_is_refused(template: str) -> None:
    with pytest.raises(UserError, match="rewrites earlier turns") as error:
        ChatFrame(templated(template), OPENING)
    assert "tiny-0" in str(error.value)


def test_a_model_without_a_template_is_refused() -> None:
    with pytest.raises(UserError, match="has no chat template"):
        ChatFrame(templated(None), OPENING)
