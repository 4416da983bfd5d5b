"""Checks a checkpoint's tensors against its model: none missing, none unexpected, same shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from opdkit.errors import UserError

# Buffers that older versions of transformers saved, and which are computed today.
_KNOWN_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|attn\.bias|attention\.bias|masked_bias|position_ids)$")
_NAMED = 4


def require_whole(info: Mapping[str, Any], key: str, path: str) -> None:
    """Raise UserError that names what is missing, not known, or of another shape.

    info: transformers' loading info: missing_keys, unexpected_keys, mismatched_keys (name, shape there, shape here).
    Tied weights are missing from no model; known buffers are passed over.
    """
    missing = {str(name) for name in info["missing_keys"] if not _KNOWN_BUFFERS.search(name)}
    unexpected = {str(name) for name in info["unexpected_keys"] if not _KNOWN_BUFFERS.search(name)}
    shapes = {f"{name} {tuple(there)} for {tuple(here)}" for name, there, here in info["mismatched_keys"]}
    mismatched = {str(name) for name, _, _ in info["mismatched_keys"]}
    told = [
        _told("missing", missing - mismatched),
        _told("unknown to the architecture", unexpected - mismatched),
        _told("of another shape", shapes),
    ]
    if any(told):
        raise UserError(
            f"{key}.path={path!r}: the checkpoint and its config.json disagree; tensors {'; '.join(filter(None, told))}"
        )


def _told(what: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return f"{what}: {', '.join(listed[:_NAMED])}{more}"
