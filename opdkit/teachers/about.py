"""What a scoring server says of its model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from opdkit.retrying import LastingError

MODEL_HEADER = "x-opdkit-model"
"""The request's header that names the fingerprint of the model that must answer."""


@dataclass(frozen=True)
class About:
    """A served model.

    Attributes:
        name: what the server's user typed.
        fingerprint: of its weights and its vocabulary, see `opdkit.models.fingerprint`.
        vocabulary: how many ids it knows.
        pad_id: fills padding.
        stop_ids: end its responses.
    """

    name: str
    fingerprint: str
    vocabulary: int
    pad_id: int
    stop_ids: tuple[int, ...]

    @classmethod
    def read(cls, answer: bytes) -> About:
        """Raises LastingError for an answer that is no such thing."""
        try:
            read: dict[str, Any] = json.loads(answer)
            about = cls(**{field.name: read[field.name] for field in fields(cls)})
            return replace(about, stop_ids=tuple(map(int, about.stop_ids)))
        except (ValueError, LookupError, TypeError, RecursionError):
            raise LastingError("it is no `opdkit serve`") from None
