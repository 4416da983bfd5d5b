"""How servers are reached: plain settings, checked when the configuration is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from opdkit.addresses import address_fault
from opdkit.errors import UserError


@dataclass(frozen=True)
class Contact:
    """How servers are reached.

    Attributes:
        key: the config group, for messages.
        servers: their addresses.
        token_variable: the environment variable that holds the token that they may ask for.
        concurrency: requests at a time, for each server.
        timeout: seconds for one request.
        patience: seconds for which a request that fails is tried again.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
        start: the command that starts such a server, for messages.
    """

    key: str
    servers: tuple[str, ...]
    token_variable: str | None
    concurrency: int
    timeout: float
    patience: float
    backoff: float
    start: str

    def check(self) -> None:
        """Raise UserError, without the group, for what can't be."""
        if not self.servers:
            raise UserError("servers=[] names no server")
        for server in self.servers:
            _check_address(server)
        if self.concurrency < 1:
            raise UserError(f"concurrency={self.concurrency} must be at least 1")
        for name in ("timeout", "patience", "backoff"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name}={getattr(self, name)} must be above 0 and finite")

    def token(self) -> str | None:
        """The token of the environment, None where it has none."""
        token = os.environ.get(self.token_variable, "").strip() if self.token_variable else ""
        if token and not (token.isascii() and token.isprintable()):
            raise UserError(f"{self.key}.token_variable={self.token_variable}: it has characters no header takes")
        return token or None


def _check_address(server: str) -> None:
    fault = address_fault(server)
    if fault == "secret":
        raise UserError("servers: an address holds a name, a password or a query; a token belongs in token_variable")
    if fault == "form":
        raise UserError(f"servers: {server!r} is no address; needed: http(s)://host[:port]")
