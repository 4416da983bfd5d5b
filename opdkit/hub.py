"""Fails fast where the Hugging Face hub cannot be reached: seconds, not minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SLOW_ANSWERS = ("ReadTimeout", "WriteTimeout", "RemoteProtocolError")


def reachable() -> bool:
    """Whether the hub can be connected to, within HF_HUB_ETAG_TIMEOUT seconds (10 by default).

    Any answer will do, an error's too, and a connection whose answer is slow. In offline mode it is False at once.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # httpx's or requests' own, by the version of the hub's client
        return type(error).__name__ in _SLOW_ANSWERS
    return True


@contextmanager
def cache_where_unreachable() -> Iterator[None]:
    """Inside, the hub's clients read their cache alone where the hub cannot be reached.

    Otherwise each of them tries every file again for half a minute, and says so on the terminal.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or reachable():
        yield
        return
    readers: list[Any] = [constants, *([sys.modules["datasets.config"]] if "datasets.config" in sys.modules else [])]
    for reader in readers:
        reader.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for reader in readers:
            reader.HF_HUB_OFFLINE = False
