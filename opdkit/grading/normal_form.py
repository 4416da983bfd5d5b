"""Normal forms of answers that can be compared without algebra: exact numbers, text, tidied LaTeX.

Nothing here evaluates an answer. Numbers are parsed as `Fraction`s by patterns of bounded length.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from opdkit.grading.notation import mark_repetition, power_of_ten, unify, without_dollars
from opdkit.grading.symbols import latex_of_symbols
from opdkit.grading.units import CURRENCIES, canonical_unit, is_bare, split_scale

_SPACING = re.compile(
    r"(?<!\\)\\(?:[,;:! ]|(?:q?quad|displaystyle|textstyle|limits|[bB]igg?[lrm]?)(?![A-Za-z])"
    r"|(?:left|right)(?![A-Za-z])\.?)|~"
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_DIGIT_GAP = re.compile(r"(?<=\d)(?:\\[,!;: ](?=\d{3}(?!\d))|(,)\s?\\!\s?(?=\d{3}(?!\d)))")
_WRAPPERS = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("\\boxed{", "}"),
    ('"', '"'),
    ("`", "`"),
)
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox|operatorname\*?)\s*\{([^{}]*)\}"
)
_IN_TEXT = "\x02"  # prefix of text answers; tidied answers contain no control characters
_STOP_AT_THE_END = re.compile(r"(?:\\\\|\\text\s{0,9}\{[ .,;]{0,9}\})$")
_MEANINGLESS_SPACE = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z](?:_\{?\w+\}?)?(?:\([A-Za-z]\))?|\\[A-Za-z]+)\s*=\s*(?![=<>])([^=]+)$")
_NAME = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?")
_FRACTION = r"\\frac\s*(?:\{\s*(-?\d{1,300})\s*\}|(\d))\s*(?:\{\s*(-?\d{1,300})\s*\}|(\d))"
_DECIMAL = r"((?:\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)|\d{1,300})?)(\.\d{0,300})?(?:[eE]([-+]?\d{1,3}))?"
_NUMBER = re.compile(
    rf"\s*([-+]?)\s*(?:([{CURRENCIES}])\s*([-+]?))?\s*"
    rf"(?:(?:(\d{{1,300}})\s*)?{_FRACTION}|(?:(\d{{1,300}})\s+)?(\d{{1,300}})\s*/\s*(\d{{1,300}})|{_DECIMAL})"
    r"(?:[\s\x02]*(%|percent\b))?\s*(?P<tail>.*)$",
    re.DOTALL,
)


@dataclass(frozen=True)
class Number:
    """An exact value as written.

    Attributes:
        value: The number, scaled by a word such as million.
        decimals: Digits after the decimal point.
        percent: Whether a percent sign follows.
        unit: The canonical unit, "" for unknown words, None if there is none.
        bare: Whether the unit is a letter not marked as text, which may be a variable.
    """

    value: Fraction
    decimals: int = 0
    percent: bool = False
    unit: str | None = None
    bare: bool = False


def tidy(text: str) -> str:
    """The text without insignificant parts: control characters, LaTeX spacing, wrappers, a final full stop."""
    text = latex_of_symbols(" ".join(text.split()))
    if not text.isascii():
        text = "".join(
            " " if unicodedata.category(character) in ("Cc", "Cs", "Cf", "Co", "Zs") else character
            for character in unicodedata.normalize("NFKC", text)
        )
    text = without_dollars(_CONTROLS.sub(" ", text))
    text = _DIGIT_GAP.sub(r"\1", text)
    text = text.replace("\\$", "$").replace("\\%", "%").replace("{,}", ",").replace("\\!", "")
    text = _SPACING.sub(" ", text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\^\s*\{\s*\\circ\s*\}", r"^\\circ", text).strip()
    return unify(_unwrap(mark_repetition(_STOP_AT_THE_END.sub("", text))))


def _unwrap(text: str) -> str:
    before = None
    while text != before:
        before = text
        text = text.rstrip(" .;,:").strip()
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : -len(closing)]
            if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
                text = inner if opening not in inner else text
    return text


def read_number(tidied: str) -> Number | None:
    """Parses a tidied answer as an exact number with its unit; None if it is anything else."""
    text = power_of_ten(_TEXT.sub(_mark_text, tidied) if "\\" in tidied else tidied)
    match = _NUMBER.match(text)
    if match is None:
        return None
    sign, currency, inner_sign, *parts, percent, tail = match.groups()
    value = _value(parts)
    if value is None:
        return None
    if (sign == "-") != (inner_sign == "-"):
        value = -value
    marked, tail = _IN_TEXT in tail, " ".join(tail.replace(_IN_TEXT, " ").split())
    scale, tail = split_scale(tail)
    unit = canonical_unit(tail) if tail else (canonical_unit(currency) if currency else None)
    if tail and unit is None:
        return None
    decimals = max(len(parts[9] or "") - 1, 0)
    return Number(value * scale, decimals, bool(percent), unit, bool(tail) and not marked and is_bare(tail))


def _mark_text(match: re.Match[str]) -> str:
    return f" {_IN_TEXT}{match.group(1)} "


def _value(parts: list[str | None]) -> Fraction | None:
    whole, over, over_digit, under, under_digit, mixed, numerator, denominator, integer, point, exponent = parts
    top, bottom = over or over_digit or numerator, under or under_digit or denominator
    if top is not None and bottom is not None:
        if int(bottom) == 0:
            return None
        return Fraction(int(top), int(bottom)) + int(whole or mixed or 0)
    digits = (integer or "").replace(",", "").replace(" ", "")
    fraction = (point or "").lstrip(".")
    if not digits and not fraction:
        return None
    return Fraction(int(digits + fraction or "0"), 10 ** len(fraction)) * Fraction(10) ** int(exponent or 0)


def read_text(tidied: str) -> str | None:
    """The case-folded words of an answer that consists only of words; None if it contains mathematics.

    Parentheses and quotes around it do not count: `(E)`, `\\text{(E)}` and `e` are the same choice.
    """
    words = _TEXT.sub(lambda match: match.group(1), tidied)
    words = " ".join(words.split()).strip("()[]'\". ")
    return words.casefold() if re.fullmatch(r"[^\W\d_]+(?:[ ',/-]+[^\W\d_]+)*", words) else None


def is_marked_text(tidied: str) -> bool:
    """Whether the whole answer is inside `\\text{...}` or similar."""
    return bool(re.fullmatch(rf"\(?\s*{_TEXT.pattern}\s*\)?", tidied))


def split_assignment(tidied: str) -> tuple[str | None, str]:
    """`x = 5` and `5 = x` as ("x", "5"); (None, text) for anything that is not one assignment."""
    if "=" not in tidied:
        return None, tidied
    if match := _ASSIGNMENT.match(tidied):
        return match.group(1), match.group(2).strip()
    left, _, right = tidied.rpartition("=")
    if _NAME.fullmatch(right.strip()) and read_number(left.strip()) is not None:
        return right.strip(), left.strip()
    return None, tidied


def compact(tidied: str) -> str:
    """LaTeX without insignificant spaces: one stays between letters and digits."""
    return _MEANINGLESS_SPACE.sub("", " ".join(tidied.split()))


def normal_form(answer: str) -> str:
    """A string that is the same for answers equal without algebra; used to count votes."""
    _, body = split_assignment(tidy(answer))
    number = read_number(body)
    if number is not None:
        return f"{number.value}%" if number.percent else str(number.value)
    return read_text(body) or compact(body)
