"""Renders sample rollouts with each token coloured by its log-ratio. All text is untrusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from opdkit.reports.configurations import Configuration
from opdkit.reports.runs import Run, number
from opdkit.reports.text import html, minus
from opdkit.untrusted import visible

THRESHOLDS = (0.1, 0.5, 2.0, 5.0)
"""Nats of |log pi - log q| from which a token gets a stronger colour."""

_MOST_TOKENS = 600
_MOST_CHARACTERS = 4000
_CONFIGURATIONS = 12


@dataclass(frozen=True)
class Sample:
    """One rollout, ready for the page. `scored`: whether its tokens are coloured."""

    step: int
    problem: str
    prompt: str
    response: Markup
    reference: str
    extracted: str
    correct: bool | None
    cut: bool
    tokens: int
    scored: bool


@dataclass(frozen=True)
class Shown:
    """Samples of one configuration, from its run with the first seed."""

    configuration: Configuration
    index: int
    run: Run
    last: Sequence[Sample]
    first: Sequence[Sample]


def shown(groups: Sequence[Configuration], each: int = 2) -> list[Shown]:
    """Of up to twelve configurations, `each` rollouts of the last step and one of the first."""
    selected: list[Shown] = []
    for index, group in enumerate(groups):
        run = next((run for run in group.runs if run.samples), None)
        if run is not None and len(selected) < _CONFIGURATIONS:
            steps = [int(number(row.get("step"))) for row in run.samples if math.isfinite(number(row.get("step")))]
            if steps:
                last = _at(run, max(steps))[:each]
                first = _at(run, min(steps))[:1] if min(steps) < max(steps) else []
                selected.append(Shown(group, index, run, last, first))
    return selected


def _at(run: Run, step: int) -> list[Sample]:
    return [sample(row) for row in run.samples if row.get("step") == step]


def sample(row: Mapping[str, Any]) -> Sample:
    """A line of samples.jsonl; missing fields are empty."""
    tokens, ratios, in_loss = row.get("token_texts"), row.get("log_ratio"), row.get("counted")
    scored = isinstance(tokens, list) and bool(tokens) and isinstance(ratios, list)
    reward = number(row.get("reward"))
    return Sample(
        step=int(number(row.get("step"))),
        problem=_string(row.get("problem")),
        prompt=_string(row.get("prompt")),
        response=coloured(tokens, ratios, in_loss) if scored else _plain(_string(row.get("response"))),
        reference=_string(row.get("reference")),
        extracted=_string(row.get("extracted")),
        correct=None if math.isnan(reward) else reward > 0.5,
        cut=row.get("stop_reason") == "length",
        tokens=int(number(row.get("tokens"))) if math.isfinite(number(row.get("tokens"))) else 0,
        scored=scored,
    )


def _string(value: object) -> str:
    return visible(value if isinstance(value, str) else "" if value is None else str(value))


def _plain(text: str) -> Markup:
    rest = len(text) - _MOST_CHARACTERS
    more = Markup('<span class="more"> … {} more characters</span>').format(rest) if rest > 0 else Markup("")
    return Markup("{}{}").format(text[:_MOST_CHARACTERS], more)


def coloured(tokens: Any, ratios: Any, in_loss: Any) -> Markup:
    """Each token as an element with its level as class and its log-ratio as title; masked ones are marked.

    tokens: texts; ratios: log pi - log q of each in nats, None if unknown; in_loss: False where masked.
    """
    parts: list[Markup] = []
    for index, token in enumerate(tokens[:_MOST_TOKENS]):
        ratio = number(ratios[index]) if index < len(ratios) else math.nan
        masked = isinstance(in_loss, list) and index < len(in_loss) and in_loss[index] is False
        classes = " ".join(name for name in (level(ratio), "masked" if masked else "") if name)
        title = ("masked, " if masked else "") + (minus(f"{ratio:+.2f}") if math.isfinite(ratio) else "not scored")
        parts.append(Markup('<i class="{}" title="{}">{}</i>').format(classes, title, _token(str(token))))
    rest = len(tokens) - _MOST_TOKENS
    if rest > 0:
        parts.append(Markup('<span class="more"> … {} more tokens</span>').format(rest))
    return Markup("").join(parts)


def _token(text: str) -> Markup:
    """Line breaks and tabs are shown and kept; an empty token is shown as a symbol."""
    shown_text = html(text or "∅")
    return shown_text.replace("\n", Markup('<b class="end">↵</b>\n')).replace("\t", Markup('<b class="end">⇥</b>\t'))


def level(ratio: float) -> str:
    """p1 to p4 if the student's probability exceeds the teacher's, n1 to n4 for the reverse, else empty."""
    if not math.isfinite(ratio):
        return ""
    steps = sum(abs(ratio) >= threshold for threshold in THRESHOLDS)
    return f"{'p' if ratio > 0 else 'n'}{steps}" if steps else ""
