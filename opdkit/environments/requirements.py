"""Checks a game's requirements without importing them, and names the install command."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable

from opdkit.errors import UserError

_MOST_SHOWN = 12


def need_java(name: str) -> None:
    """Raises UserError if `java` is not installed."""
    if shutil.which("java") is None:
        raise UserError(
            f"{name} needs Java and there is no java on PATH: apt-get install default-jre-headless (Debian, Ubuntu), "
            f"or add the bin folder of a Java 8 or newer to PATH"
        )


def need_choice(where: str, word: str, allowed: Iterable[str]) -> None:
    """Raises UserError, with the near miss, if `word` is not in `allowed`."""
    words = list(allowed)
    if word in words:
        return
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    shown = ", ".join(words[:_MOST_SHOWN]) + (
        f" and {len(words) - _MOST_SHOWN} more" if len(words) > _MOST_SHOWN else ""
    )
    raise UserError(f"{where}: there is no {word!r}{hint}; allowed: {shown or 'nothing'}")


def clean(action: str) -> str:
    """An action without lone surrogates and control characters, which would break the bridge to Java."""
    text = action.encode("utf-8", "replace").decode("utf-8")
    return "".join(sign if sign.isprintable() else " " for sign in text)
