"""Words errors: what is allowed, and the nearest match to what was typed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 40


def near_miss(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean x?)` for the closest allowed word, an empty string where none is close."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.55)
    return f" (did you mean {close[0]}?)" if close else ""


def allowed_words(allowed: Iterable[str]) -> str:
    """`a, b, c`, in order and cut where the list would fill the screen."""
    words = sorted(allowed)
    if not words:
        return "nothing"
    shown = ", ".join(words[:_MOST_SHOWN])
    return shown if len(words) <= _MOST_SHOWN else f"{shown} and {len(words) - _MOST_SHOWN} more"


def no_value(key: str) -> str:
    """One line for a key that the configuration leaves to the user."""
    return f"{key}: no value; give {key}=..."


def refusal(subject: str, wrong: str, word: str, allowed: Iterable[str]) -> str:
    """One line: the key or value, what is wrong with it, what is allowed, the near miss."""
    words = list(allowed)
    return f"{subject}: {wrong}; allowed: {allowed_words(words)}{near_miss(word, words)}"
