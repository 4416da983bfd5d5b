"""What the client of vLLM must know of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opdkit.servers.contact import Contact

Adapters = Literal["merged", "alone"]


@dataclass(frozen=True)
class VLLMSettings:
    """See `VLLMRollout`.

    Attributes:
        contact: the servers; none where one is started here.
        python: the interpreter that starts it.
        options: of `vllm serve`.
        weights_folder: where the weights are written.
        gap_limit: nats between the log-probs of a server and the student's.
        longest: tokens of a prompt and its response.
        adapters: how those of the student are handed over.
        sleeps: whether the server gives its memory back while nothing is asked of it.
    """

    contact: Contact
    python: str | None
    options: Sequence[str]
    weights_folder: str | None
    gap_limit: float
    longest: int
    adapters: Adapters = "merged"
    sleeps: bool = False
