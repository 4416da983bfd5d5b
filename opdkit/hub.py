"""Fails fast if the Hugging Face Hub is unreachable: seconds, not minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SLOW_ANSWERS = ("ReadTimeout", "WriteTimeout", "RemoteProtocolError")


def reachable() -> bool:
    """Whether the Hub is reachable within HF_HUB_ETAG_TIMEOUT seconds (10 by default).

    Any response counts, including errors, and so does a connection with a slow response. False at once in offline mode.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # of httpx or requests, depending on the Hub client's version
        return type(error).__name__ in _SLOW_ANSWERS
    return True


@contextmanager
def cache_where_unreachable() -> Iterator[None]:
    """Context manager in which Hub clients only use their cache if the Hub is unreachable.

    Otherwise each of them retries every file for half a minute and prints warnings.
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
