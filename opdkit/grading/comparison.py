"""Whether two answers are equal, as far as that can be told at once, and whether algebra may be tried."""

from __future__ import annotations

import re
from fractions import Fraction

from opdkit.grading.evaluate import clearly_different
from opdkit.grading.normal_form import (
    Number,
    compact,
    is_marked_text,
    read_number,
    read_text,
    split_assignment,
)

ANSWER_LIMIT = 1000
_DEPTH_LIMIT = 12
_ROOTS_LIMIT = 30
_SIGNIFICANT_DIGITS = 6
_SENTENCE_WORDS = 6
_CHOICE = re.compile(r"\(?([A-J])\s*(?:[).:]|\)\s*[.:])\s*(\S.*)$", re.DOTALL)  # `(C) 12`: a choice with its text
_LIST_SIGN = re.compile(r",\s*(?:and|or)\s+|,|\s+(?:and|or)\s+|\\text\s*\{\s*(?:and|or)\s*\}")
_BRACKET = re.compile(r"[()\[\]]")
_CHOICE_LETTER = re.compile(r"\b[A-J]\b")
_PROSE = re.compile(r"[A-Za-z][A-Za-z ,.'!?-]*")
_WORD = re.compile(r"[A-Za-z]{4,}")
_MATH_WORDS = frozenset(["sqrt", "sinh", "cosh", "tanh", "infty", "infinity"])
_TOO_LARGE = re.compile(
    r"\d{301}"  # a number with hundreds of digits
    r"|(?:\^|\*\*)\s*[-+({\s]*\d{5}"  # a huge exponent
    r"|[\d)}]\s*(?:\^|\*\*)\s*[-+]?\d+\s*(?:\^|\*\*)"  # a tower of powers, bare
    r"|[\d)}]\s*(?:\^|\*\*)\s*[({][^(){}]*\d\s*(?:\^|\*\*)"  # and bracketed
    r"|(?:\d{5}|\))\s*!|!\s*!|\)\s*!"  # a huge or repeated factorial
    r"|factorial|binomial|__|\blambda\s*:|\bimport\b|\beval\b|\bexec\b",
)


def equal_at_once(answer: str, reference: str) -> bool | None:
    """The verdict on two tidied answers without algebra; None where only algebra can tell."""
    if not answer or not reference:
        return False
    if compact(answer) == compact(reference):
        return True
    (answer_name, answer_body), (name, body) = split_assignment(answer), split_assignment(reference)
    if answer_name is None or name is None or answer_name == name:
        answer, reference = answer_body, body
        if compact(answer) == compact(reference):
            return True
    ours, gold = read_number(answer), read_number(reference)
    if ours is not None and gold is not None:
        return equal_numbers(ours, gold)
    told = _equal_entries(answer, reference)
    if told is None:
        told = _equal_texts(answer, reference, gold is not None)
    if told is None and refusal(answer) is None and clearly_different(answer, reference):
        return False
    return told


def _equal_entries(answer: str, reference: str) -> bool | None:
    """Of two tuples or intervals of the same length, entry by entry; None where an entry needs algebra."""
    ours, gold = _entries(answer), _entries(reference)
    if not ours or len(ours) != len(gold) or (answer[0], answer[-1]) != (reference[0], reference[-1]):
        return None
    told = [equal_at_once(mine, theirs) for mine, theirs in zip(ours, gold, strict=True)]
    return False if False in told else None if None in told else True


def _entries(text: str) -> list[str]:
    """What stands between the commas of `(1, 2)` or `[1, 2)`; nothing of anything else."""
    inner = text[1:-1]
    flat = text[:1] in ("(", "[") and text[-1:] in (")", "]") and not _BRACKET.search(inner)
    return [entry.strip() for entry in inner.split(",")] if flat and "," in inner else []


def _equal_texts(answer: str, reference: str, reference_is_number: bool) -> bool | None:
    words, gold_words = read_text(answer), read_text(reference)
    if gold_words is not None and len(gold_words) == 1 and (choice := _CHOICE.match(_unmarked(answer))):
        return choice.group(1).casefold() == gold_words and not _CHOICE_LETTER.search(choice.group(2))
    if gold_words is not None and words == gold_words:
        return True
    ours, gold = _word_list(answer), _word_list(reference)
    if len(gold) > 1 and ours == gold:
        return True
    if is_marked_text(reference) and gold_words is not None:
        return False
    if _is_prose(answer) and (reference_is_number or len(answer.split()) >= _SENTENCE_WORDS):
        return False
    return None


def _word_list(text: str) -> list[str]:
    """`\\text{red}, \\text{blue} and green` as its words in order, nothing where an entry is no word."""
    words = [read_text(entry.strip()) for entry in _LIST_SIGN.split(text)]
    return [] if None in words else sorted(filter(None, words))


def _unmarked(answer: str) -> str:
    """The answer without `\\text{...}` and the like around parts of it."""
    return re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r"\1", answer).strip()


def _is_prose(answer: str) -> bool:
    """Words without a digit or a formula, which no number can equal."""
    words = set(_WORD.findall(answer.lower()))
    return bool(_PROSE.fullmatch(answer)) and bool(words - _MATH_WORDS)


def equal_numbers(answer: Number, reference: Number) -> bool:
    """Exact equality; units must not contradict; a per cent sign on one side alone may mean either reading.

    A decimal also equals a fraction that no decimal can write where it is that fraction cut or rounded to six
    significant digits or more.
    """
    if answer.unit and reference.unit and answer.unit != reference.unit:
        return False
    if answer.percent == reference.percent:
        return _equal_values(answer.value, reference.value, answer.decimals, reference.decimals)
    scale = Fraction(1, 100)
    ours, gold = answer, reference
    plain = _equal_values(ours.value, gold.value, ours.decimals, gold.decimals)
    scaled_ours = ours.value * scale if ours.percent else ours.value
    scaled_gold = gold.value * scale if gold.percent else gold.value
    return plain or scaled_ours == scaled_gold


def _equal_values(ours: Fraction, gold: Fraction, our_decimals: int, gold_decimals: int) -> bool:
    if ours == gold:
        return True
    for rounded, exact, decimals in ((ours, gold, our_decimals), (gold, ours, gold_decimals)):
        digits = len(str(abs(rounded.numerator * 10**decimals // rounded.denominator)))
        enough = decimals > 0 and rounded != 0 and digits >= _SIGNIFICANT_DIGITS
        if enough and not _terminates(exact) and abs(rounded - exact) < Fraction(1, 10**decimals):
            return True
    return False


def _terminates(value: Fraction) -> bool:
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


def refusal(answer: str) -> str | None:
    """Why algebra is not tried on an answer ("too_long", "too_complex"), or None where it may be.

    This saves time only: what it lets through still runs in a process with its own limits.
    """
    if len(answer) > ANSWER_LIMIT:
        return "too_long"
    depth = deepest = 0
    for character in answer:
        depth += (character in "{[(") - (character in "}])")
        deepest = max(deepest, depth)
    if deepest > _DEPTH_LIMIT or answer.count("\\frac") + answer.count("\\sqrt") > _ROOTS_LIMIT:
        return "too_complex"
    return "too_complex" if _TOO_LARGE.search(answer) else None
