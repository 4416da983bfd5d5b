"""Names the objective of a run: the closest option, and its differences from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_DEPARTURES = 2
"""An objective that differs from every option in more values than this has no name."""
_PREFIX = "objective."


def by_name(flats: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Flattened configurations with the option's name as `objective` in place of its values, where they differ in it.

    known: option -> its values, flattened as `objective.*`. Values in which one configuration differs from its option
    are kept in all that have them. If one matches no option, or all are the same, nothing is changed.
    """
    matches = [nearest({key: value for key, value in flat.items() if key.startswith(_PREFIX)}, known) for flat in flats]
    options = [one for one in matches if one is not None]
    if len(options) < len(flats) or len({name for name, _ in options}) < 2:
        return list(flats)
    departing = {key for _, keys in options for key in keys}
    return [
        {"objective": name, **{k: v for k, v in flat.items() if not k.startswith(_PREFIX) or k in departing}}
        for flat, (name, _) in zip(flats, options, strict=True)
    ]


def nearest(values: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]] | None:
    """(the option of the same class that `values` differ from in the fewest keys, those keys), or None."""
    best: tuple[str, list[str]] | None = None
    for name, option in known.items():
        if values.get(f"{_PREFIX}_target_") != option.get(f"{_PREFIX}_target_"):
            continue
        keys = [key for key in dict.fromkeys([*values, *option]) if values.get(key) != option.get(key)]
        if len(keys) <= MOST_DEPARTURES and (best is None or len(keys) < len(best[1])):
            best = name, keys
    return best
