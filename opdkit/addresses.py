"""Checks the addresses of servers without asking them."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit


def address_fault(address: str) -> Literal["secret", "form"] | None:
    """What is wrong with an http(s) address.

    Returns:
        "secret" where it holds a name, a password or a query, "form" where it is no address, None where it is fine.
    """
    try:
        parts = urlsplit(address)
        if parts.username or parts.password or parts.query:
            return "secret"
        return None if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else "form"
    except ValueError:
        return "form"
