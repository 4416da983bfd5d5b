"""Renders chats with a tokenizer's chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opdkit.data.problem import Message
from opdkit.errors import UserError


def chat_text(
    tokenizer: Any,
    messages: Sequence[Message],
    name: str,
    template_kwargs: Mapping[str, object] | None = None,
    *,
    awaits: bool = True,
) -> str:
    """The text of `messages`, with the generation prompt if `awaits`.

    name: the model's name, for errors. template_kwargs: variables of the template, such as `enable_thinking`; None
    values are not passed. Raises UserError if the template rejects the messages.
    """
    chat = [{"role": message.role, "content": message.content} for message in messages]
    given: dict[str, Any] = {key: value for key, value in (template_kwargs or {}).items() if value is not None}
    try:
        return tokenizer.apply_chat_template(chat, **given, add_generation_prompt=awaits, tokenize=False)
    except Exception as error:  # the template is Jinja code from the model and may raise anything
        raise UserError(f"the chat template of {name} refuses the prompt: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
