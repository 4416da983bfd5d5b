"""Quotes untrusted text in prompts: bounded, without special tokens, between marks that it can't contain.

A response may contain anything: the end of a prompt, chat-template tokens, a request for a good grade. Inside a fence
it is plain text, and the surrounding instructions say that it is never an instruction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from opdkit.seeding import derive_seed

_CONTROL = re.compile(r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]")
_SPECIAL = re.compile(
    r"<[|\uff5c][^<>\n]{0,60}[|\uff5c]>|</?(?:s|unk|pad|bos|eos|think|thinking|tool_call)>|<(?:start|end)_of_turn>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS)\]|<</?SYS>>",
    re.IGNORECASE,
)
_OPENING = re.compile(r"^\[\[([a-z]+(?: \d+)?) ([0-9a-f]{16})\]\]$", re.MULTILINE)


def strip_reasoning(text: str) -> str:
    """The stripped text after the last `</think>`."""
    return text.rpartition("</think>")[2].strip()


def bounded(text: str, limit: int) -> str:
    """Truncates the middle of a text to about `limit` characters, noting how much was omitted."""
    if len(text) <= limit:
        return text
    tail = limit // 2
    left_out = len(text) - limit
    return f"{text[: limit - tail]}\n[... {left_out} characters left out ...]\n{text[len(text) - tail :]}"


def harmless(text: str) -> str:
    """The text without control characters and lone surrogates, with the brackets of special tokens defused."""
    shown = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))
    return _SPECIAL.sub(lambda found: "(" + found.group().strip("<>[]") + ")", shown)


def fenced(parts: Mapping[str, str], limit: int) -> str:
    """Named texts between marks that none of them contains.

    Args:
        parts: "problem" or "response 2" -> text. Names are trusted, texts are not.
        limit: maximum characters of each text.

    Returns:
        For each part `[[name mark]]`, the text and `[[end mark]]`, each on lines of their own. The same parts always
        get the same mark.
    """
    texts = {name: bounded(harmless(text), limit) for name, text in parts.items()}
    draw = 0
    mark = _mark(texts, draw)
    while any(mark in text for text in texts.values()):
        draw += 1
        mark = _mark(texts, draw)
    return "\n".join(f"[[{name} {mark}]]\n{text}\n[[end {mark}]]" for name, text in texts.items())


def unfenced(prompt: str) -> dict[str, str]:
    """Parses the named texts of a prompt written by `fenced`, for scripts that stand in for a model."""
    found: dict[str, str] = {}
    place = 0
    while (opening := _OPENING.search(prompt, place)) is not None:
        name, mark = opening.groups()
        closing = f"\n[[end {mark}]]"
        end = prompt.find(closing, opening.end())
        if end < 0:
            break
        found[name] = prompt[opening.end() + 1 : end]
        place = end + len(closing)
    return found


def _mark(texts: Mapping[str, str], draw: int) -> str:
    return f"{derive_seed('fence', draw, *texts.values()):016x}"
