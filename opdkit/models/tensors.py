"""Checks a checkpoint's tensors against its model: none missing, none unexpected, same shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from opdkit.errors import UserError

# Buffers that older versions of transformers saved and newer ones recompute.
_KNOWN_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|attn\.bias|attention\.bias|masked_bias|position_ids)$")
_MOST_LISTED = 4


def require_whole(info: Mapping[str, Any], key: str, path: str) -> None:
    """Raises UserError that names missing tensors, unexpected ones, and those with another shape.

    info: transformers' loading info: missing_keys, unexpected_keys, mismatched_keys (name, shape there, shape here).
    Tied weights do not count as missing; known buffers are ignored.
    """
    missing = {str(name) for name in info["missing_keys"] if not _KNOWN_BUFFERS.search(name)}
    unexpected = {str(name) for name in info["unexpected_keys"] if not _KNOWN_BUFFERS.search(name)}
    shapes = {f"{name} {tuple(there)} for {tuple(here)}" for name, there, here in info["mismatched_keys"]}
    mismatched = {str(name) for name, _, _ in info["mismatched_keys"]}
    diff = [
        _listed("missing", missing - mismatched),
        _listed("unknown to the architecture", unexpected - mismatched),
        _listed("of another shape", shapes),
    ]
    if any(diff):
        raise UserError(
            f"{key}.path={path!r}: the checkpoint and its config.json disagree; tensors {'; '.join(filter(None, diff))}"
        )


def _listed(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return ""
    more = f" and {len(ordered) - _MOST_LISTED} more" if len(ordered) > _MOST_LISTED else ""
    return f"{what}: {', '.join(ordered[:_MOST_LISTED])}{more}"
