"""Compares answers in words: choice letters, names, lists of words, sentences."""

from __future__ import annotations

import re

from opdkit.grading.equality import Outcome
from opdkit.grading.normal_form import is_marked_text, read_text

_SENTENCE_WORDS = 6
_LETTER = re.compile(r"[([]?\s*([A-J])\s*[)\].:]*")
_LETTER_WITH_TEXT = re.compile(r"\(?([A-J])\s*(?:[).:]|\)\s*[.:])\s*(\S.*)$", re.DOTALL)  # `(C) 12`
_OTHER_LETTER = re.compile(r"\b[A-J]\b")
_MARKED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textit|boldsymbol)\s*\{([^{}]*)\}")
_LIST_SIGN = re.compile(r",\s*(?:and|or)\s+|,|\s+(?:and|or)\s+|\\text\s*\{\s*(?:and|or)\s*\}")
_PROSE = re.compile(r"[A-Za-z][A-Za-z ,.'!?-]*")
_WORD = re.compile(r"[A-Za-z]{4,}")
_MATH_WORDS = frozenset(["sqrt", "sinh", "cosh", "tanh", "infty", "infinity"])


def choice_letter(text: str) -> str | None:
    """The lower-case letter of a choice, alone or followed by the choice's text; None for anything else."""
    plain = _MARKED.sub(r"\1", text).strip()
    if (match := _LETTER.fullmatch(plain)) or (match := _LETTER.fullmatch(plain.upper())):
        return match.group(1).casefold()
    match = _LETTER_WITH_TEXT.match(plain)
    return match.group(1).casefold() if match and not _OTHER_LETTER.search(match.group(2)) else None


def behind_letter(text: str) -> str | None:
    """The text of a choice after its letter, `12` of `(C) 12`; None without a letter or text."""
    match = _LETTER_WITH_TEXT.match(_MARKED.sub(r"\1", text).strip())
    return match.group(2).strip() if match else None


def equal_words(answer: str, reference: str, reference_is_number: bool) -> Outcome | None:
    """The outcome for two answers in words; None if either may be mathematics."""
    words, gold_words = read_text(answer), read_text(reference)
    if gold_words is not None and words == gold_words:
        return Outcome.YES
    ours, gold = _word_list(answer), _word_list(reference)
    if len(gold) > 1 and ours == gold:
        return Outcome.YES
    if is_marked_text(reference) and gold_words is not None:
        return Outcome.NO
    if _is_prose(answer) and (reference_is_number or len(answer.split()) >= _SENTENCE_WORDS):
        return Outcome.NO
    return None


def _word_list(text: str) -> list[str]:
    """`\\text{red}, \\text{blue} and green` as its words in order, empty if an entry is not a word."""
    words = [read_text(entry.strip()) for entry in _LIST_SIGN.split(text)]
    return [] if None in words else sorted(filter(None, words))


def _is_prose(answer: str) -> bool:
    """Whether a text has no digit or formula, so that it can't equal a number."""
    words = set(_WORD.findall(answer.lower()))
    return bool(_PROSE.fullmatch(answer)) and bool(words - _MATH_WORDS)
