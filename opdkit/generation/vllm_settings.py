"""The settings of the vLLM client."""

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
        contact: the servers; none if one is started here.
        python: the interpreter to start it with.
        options: options of `vllm serve`.
        weights_folder: where the weights are written.
        gap_limit: maximum difference in nats between the log-probs of a server and the student's.
        longest: maximum tokens of a prompt and its response.
        adapters: how the student's adapters are sent.
        sleeps: whether the server releases its GPU memory during updates.
    """

    contact: Contact
    python: str | None
    options: Sequence[str]
    weights_folder: str | None
    gap_limit: float
    longest: int
    adapters: Adapters = "merged"
    sleeps: bool = False
