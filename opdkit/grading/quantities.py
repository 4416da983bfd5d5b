"""Parses numbers in a base, times of day, and answers of several quantities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from opdkit.grading.units import canonical_unit

TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|mbox|operatorname\*?)\s*\{([^{}]*)\}"
)
_COUNTS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_BASES = {word: base for base, word in enumerate(_COUNTS.split(), start=2)} | {
    "binary": 2,
    "octal": 8,
    "decimal": 10,
    "hexadecimal": 16,
    "hex": 16,
}
_BASE = "|".join([r"\d{1,2}", *_BASES])
_DIGITS = r"\(?\s*(-?[0-9A-Z][0-9A-Z ,]*(?:\.[0-9A-Z]+)?)\s*\)?"
_SUBSCRIPTED = re.compile(rf"{_DIGITS}\s*_\s*\{{?\s*\(?\s*(?:base\s*)?({_BASE})\s*\)?\s*\}}?")
_WORDED = re.compile(
    rf"{_DIGITS}\s*,?\s*\(?\s*(?:in\s+)?(?:base[ -]?({_BASE})|(binary|octal|decimal|hexadecimal))\s*\)?"
)
_TIME = re.compile(r"(\d{1,2})(?:\s?[:.]\s?(\d{2}))?\s*(?:o'?\s?clock\s*)?(?:([ap])\s?\.?\s?m\.?)?")
_TOKEN = re.compile(
    r"\s*(?:\$?\s*(-?\d+(?:,\d{3})*(?:\.\d+)?(?:\s*/\s*\d+)?)|([A-Za-z]+(?:\^\{?\d\}?)?)|([,;:&]|\\times|\\cdot|\.(?!\d)))"
)
_JOINS = frozenset([",", ";", ":", "&", "and", "or", "."])
_SIDES = frozenset(["by", "x", "\\times", "to"])
_CONDITION = re.compile(r"\b(?:if|otherwise|unless|when|whenever|else|except|provided)\b|\\begin\s*\{cases\}")


@dataclass(frozen=True)
class BaseNumber:
    """Digits as written, and their base."""

    digits: str
    base: int


@dataclass(frozen=True)
class Quantities:
    """Several numbers, each with the words after it ("" for none), and the separators."""

    values: tuple[Fraction, ...]
    units: tuple[str, ...]
    in_order: bool


def flat(tidied: str) -> str:
    """The answer with text markup removed."""
    return " ".join(TEXT.sub(r" \1 ", tidied).split()) if "\\" in tidied else tidied


def read_base(tidied: str) -> BaseNumber | None:
    """`2516_8`, `2516_{\\text{eight}}` and `2516 in base 8` as the same number; None for anything else."""
    if "_" not in tidied and "ase" not in tidied and "al" not in tidied and "binary" not in tidied:
        return None
    text = flat(tidied)
    match = _SUBSCRIPTED.fullmatch(text) or _WORDED.fullmatch(text)
    if match is None or not any(character.isdigit() for character in match.group(1)):
        return None
    word = next(group for group in match.groups()[1:] if group)
    base = int(word) if word.isdigit() else _BASES[word]
    if base <= 10 and not match.group(1).lstrip("-")[:1].isdigit():
        return None  # the variable `A1_2`
    return BaseNumber(re.sub(r"[ ,]", "", match.group(1)).lstrip("0") or "0", base)


def read_time(tidied: str) -> tuple[int, int, str] | None:
    """The hour, the minute and "a", "p" or "" of a time of day."""
    match = _TIME.fullmatch(flat(tidied).lower())
    return (int(match.group(1)), int(match.group(2) or 0), match.group(3) or "") if match else None


def equal_times(ours: tuple[int, int, str], gold: tuple[int, int, str]) -> bool:
    """Whether two times of day are equal; am or pm given on one side only applies to both."""
    if ours[2] == gold[2] or not (ours[2] and gold[2]):
        if ours[:2] == gold[:2]:
            return True
        return {_in_day(time) for time in (ours, gold)} == {_in_day(ours)} and bool(ours[2] or gold[2])
    return False


def _in_day(time: tuple[int, int, str]) -> tuple[int, int]:
    hour, minute, half = time
    return ((hour % 12 + 12 * (half == "p")) if half else hour, minute)


def has_condition(tidied: str) -> bool:
    """Whether an answer states a condition."""
    return bool(_CONDITION.search(tidied))


def read_quantities(tidied: str) -> Quantities | None:
    """Several quantities in words, `3 ft 6 in`, `12 boys, 13 girls`, `12 cm by 7 cm`; None for anything else."""
    text, place = flat(tidied), 0
    values: list[Fraction] = []
    words: list[list[str]] = []
    sides, joined, worded = False, True, "\\" in tidied
    while match := _TOKEN.match(text, place):
        place = match.end()
        number, word, sign = match.groups()
        if number is not None:
            if number.startswith("-") and not joined:
                return None  # a difference
            top, _, bottom = number.replace(",", "").replace(" ", "").partition("/")
            if bottom and int(bottom) == 0:
                return None
            values.append(Fraction(top) / int(bottom or 1))
            words.append([])
        elif (sign or word) in _SIDES:
            sides = True
        elif (sign or word.lower()) not in _JOINS:
            if sign or not values or (len(word) == 1 and not worded):
                return None  # a bare letter is a variable
            words[-1].append(word)
        joined = number is None and (sign or word.lower()) in _JOINS | _SIDES
    if text[place:].strip() or len(values) < 2:
        return None
    units = tuple(_unit(" ".join(group)) for group in words)
    named = len(set(units)) == len(units) and "" not in units
    return Quantities(tuple(values), units, sides or not named)


def _unit(words: str) -> str:
    return canonical_unit(words) or words.lower().removesuffix("s")


def equal_quantities(ours: Quantities, gold: Quantities) -> bool:
    """Whether numbers and units agree; a unit missing on one side is taken from the other."""
    if len(ours.values) != len(gold.values):
        return False
    if not ours.in_order and not gold.in_order:
        return set(zip(ours.values, ours.units, strict=True)) == set(zip(gold.values, gold.units, strict=True))
    return ours.values == gold.values and all(
        mine == theirs or not (mine and theirs) for mine, theirs in zip(ours.units, gold.units, strict=True)
    )
