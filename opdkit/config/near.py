"""Wording of errors: the allowed values and the closest match to the input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 40


def near_miss(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean x?)` for the closest allowed word, empty if none is close."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.55)
    return f" (did you mean {close[0]}?)" if close else ""


def allowed_words(allowed: Iterable[str]) -> str:
    """`a, b, c`, in order, truncated if the list is long."""
    words = sorted(allowed)
    if not words:
        return "nothing"
    shown = ", ".join(words[:_MOST_SHOWN])
    return shown if len(words) <= _MOST_SHOWN else f"{shown} and {len(words) - _MOST_SHOWN} more"


def no_value(key: str) -> str:
    """Error line for a key that the user must set."""
    return f"{key}: no value; give {key}=..."


def refusal(subject: str, wrong: str, word: str, allowed: Iterable[str]) -> str:
    """Error line: the key or value, what is wrong, the allowed values, the near miss."""
    words = list(allowed)
    return f"{subject}: {wrong}; allowed: {allowed_words(words)}{near_miss(word, words)}"
