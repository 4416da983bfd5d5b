"""Hostile text is shown and never obeyed, in every form that it is written to."""

from __future__ import annotations

import pytest

from opdkit.reports.rollouts import coloured, level, sample
from opdkit.reports.text import cell, html, markdown
from opdkit.untrusted import visible

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'> \"quoted\" 'single' & {{ 7 * 7 }}"


def test_markup_becomes_text() -> None:
    shown = str(html(HOSTILE))
    assert "<" not in shown
    assert ">" not in shown
    assert '"' not in shown
    assert "'" not in shown
    assert "{{ 7 * 7 }}" in shown


@pytest.mark.parametrize(
    "sign",
    ["\x00", "\x07", "\x1b", "\r", "\x7f", "\x85", "\u200b", "\u200e", "\u202e", "\u2066", "\u2028", "\ufeff", "\ud800",
     "\U000e0041", "\ufffe", "\u00ad"],
)  # fmt: skip
def test_what_can_not_be_seen_is_shown(sign: str) -> None:
    assert visible(f"a{sign}b") == f"a⟨U+{ord(sign):04X}⟩b"
    visible(sign).encode()


@pytest.mark.parametrize("text", ["plain", "line\nend\ttab", "Ünïcödé", "数学", "π / q", "👩‍🔬", "שלום", "e\u0301"])
def test_what_can_be_read_stays(text: str) -> None:
    assert visible(text) == text


def test_markdown_and_csv_cells() -> None:
    shown = markdown("a|b\n<b>*c*</b> [x](javascript:1) `d`")
    assert not set("|\n<>*[]`") & set(shown)
    assert cell("=1+1") == "'=1+1"
    assert cell("a\nb") == "a b"


def test_tokens_carry_their_log_ratio_and_their_mask() -> None:
    shown = str(coloured(["a", "<b>", "\n", ""], [0.05, -7.25, None, 0.6], [True, True, False, True]))
    assert '<i class="" title="+0.05">a</i>' in shown
    assert '<i class="n4" title="\u22127.25">&lt;b&gt;</i>' in shown
    assert '<i class="masked" title="masked, not scored"><b class="end">↵</b>\n</i>' in shown
    assert '<i class="p2" title="+0.60">∅</i>' in shown


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0.0, ""), (0.1, "p1"), (-0.5, "n2"), (2.0, "p3"), (-5.0, "n4"), (float("nan"), "")]
)
def test_levels(ratio: float, expected: str) -> None:
    assert level(ratio) == expected


def test_a_row_without_tokens_is_shown_plain_and_a_long_one_is_cut() -> None:
    shown = sample({"step": 3, "response": HOSTILE + "x" * 5000, "reward": 1.0, "stop_reason": "length"})
    assert "<script" not in str(shown.response)
    assert "more characters" in str(shown.response)
    assert (shown.correct, shown.cut, shown.scored, shown.extracted) == (True, True, False, "")


def test_a_row_of_nonsense_does_no_harm() -> None:
    shown = sample({"step": 1, "token_texts": [1, None], "log_ratio": ["x"], "counted": "no", "reward": "high"})
    assert shown.scored
    assert shown.correct is None
