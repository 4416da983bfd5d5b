"""The metadata of a scoring server's model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from opdkit.retrying import LastingError

MODEL_HEADER = "x-opdkit-model"
"""The request header with the fingerprint of the model that must answer."""


@dataclass(frozen=True)
class About:
    """A served model.

    Attributes:
        name: the path or hub id given to the server.
        fingerprint: of its weights and vocabulary, see `opdkit.models.fingerprint`.
        vocabulary: the number of valid ids.
        pad_id: the padding id.
        stop_ids: the ids that end its responses.
    """

    name: str
    fingerprint: str
    vocabulary: int
    pad_id: int
    stop_ids: tuple[int, ...]

    @classmethod
    def read(cls, answer: bytes) -> About:
        """Parse a server's answer. Raises LastingError if it is not from `opdkit serve`."""
        try:
            read: dict[str, Any] = json.loads(answer)
            about = cls(**{field.name: read[field.name] for field in fields(cls)})
            return replace(about, stop_ids=tuple(map(int, about.stop_ids)))
        except (ValueError, LookupError, TypeError, RecursionError):
            raise LastingError("it is no `opdkit serve`") from None
