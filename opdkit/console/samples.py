"""Renders rollouts in the terminal with tokens coloured by log-ratio. All text is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from opdkit.console.episodes import response_lines
from opdkit.untrusted import visible

# From weakest to strongest. Red: the student's probability of its token exceeds the teacher's; blue: the reverse.
_RED = ("on #ffe9e6 black", "on #ffc7bf black", "on #ff9488 black", "on #e0483b white")
_BLUE = ("on #e6f0ff black", "on #bfd7ff black", "on #85b2ff black", "on #2f6fe0 white")
_MOST_LINES = 200


def rollout_text(row: Mapping[str, Any], thresholds: Sequence[float]) -> Text:
    """A row of samples.jsonl: header, prompt and coloured response.

    thresholds: four values of |log pi - log q|, nats, from which a token gets a stronger colour.
    """
    shown = Text()
    shown.append(_head(row) + "\n", style="bold")
    shown.append(_cut(row.get("prompt")) + "\n", style="dim")
    texts, ratios = row.get("token_texts"), row.get("log_ratio")
    if not isinstance(texts, list) or not isinstance(ratios, list) or len(texts) != len(ratios):
        return shown.append(_cut(row.get("response")))
    for text, ratio in zip(texts, ratios, strict=True):
        shown.append(visible(str(text)), style=style(ratio, thresholds))
    return shown


def response_text(row: Mapping[str, Any]) -> Text:
    """A row of a responses file, or the transcript of an episode."""
    return Text("\n".join(visible(line) for line in response_lines(row)[:_MOST_LINES]).lstrip("\n"))


def style(ratio: object, thresholds: Sequence[float]) -> str:
    """The colour of a token; empty below the first threshold or without a score."""
    if not isinstance(ratio, int | float):
        return ""
    level = sum(abs(ratio) >= bound for bound in thresholds)
    return (_RED if ratio > 0 else _BLUE)[level - 1] if level else ""


def legend(thresholds: Sequence[float]) -> Text:
    """The legend of the colours."""
    shown = Text("log π − log q in nats  ")
    for sign, colours in (("−", _BLUE), ("+", _RED)):
        for bound, colour in zip(thresholds, colours, strict=True):
            shown.append(f" {sign}{bound:g} ", style=colour)
        shown.append("  ")
    return shown.append("blue: the teacher gives the token more probability; red: the student does")


def _head(row: Mapping[str, Any]) -> str:
    reward = row.get("reward")
    told = f", reward {reward:g}" if isinstance(reward, int | float) else ""
    told += f", {_cut(row['status'], 80)}" if row.get("status") else ""
    read = "" if row.get("extracted") is None else f", read as {_cut(row['extracted'], 80)}"
    gold = f", the answer is {_cut(row.get('reference'), 80)}" if row.get("reference") else ""
    ending = f", {row.get('tokens')} tokens" + (", cut" if row.get("stop_reason") == "length" else "")
    return f"step {row.get('step')}, {_cut(row.get('problem'), 80)}{told}{read}{gold}{ending}"


def _cut(value: object, limit: int = 4000) -> str:
    text = visible("" if value is None else str(value))
    return text if len(text) <= limit else text[:limit] + "…"
