"""Validates server addresses without contacting them."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit


def address_fault(address: str) -> Literal["secret", "form"] | None:
    """The fault of an http(s) address.

    Returns:
        "secret" if it contains a user name, password or query, "form" if it is not an address, None if valid.
    """
    try:
        parts = urlsplit(address)
        if parts.username or parts.password or parts.query:
            return "secret"
        return None if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else "form"
    except ValueError:
        return "form"
