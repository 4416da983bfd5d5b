"""Algebraic equality of two answers, through math-verify. Imported by the grading worker alone."""

from __future__ import annotations

import re
from cmath import isfinite
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from sympy import And, Basic, Expr, FiniteSet, Float, I, Interval, Or, Rational, S, Set, Symbol, Union, simplify
from sympy.core.relational import Relational

from opdkit.grading.normal_form import split_assignment

_CONFIG = (LatexExtractionConfig(boxed_match_priority=0),)
_JOINED = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|\s+(?:and|or)\s+|,\s*(?:and|or)\s+")
_WORDED = re.compile(r"\\(?:text|mathrm)\s*\{([^{}]*\d[^{}]*)\}")
_NAMED = re.compile(r"\s*([A-Za-z](?:_\{?\w+\}?)?)\s*=(?![=<>])([^=]+)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPACED_DIGITS = re.compile(r"\d\s+\d")  # two numbers side by side, which math-verify would add
_PRIMES = (11, 13, 17, 19, 23, 29)
_CLEARLY_APART, _ALIKE = 1e-5, 1e-12
_REWRITES = (
    (
        re.compile(r"\\(sin|cos|tan|cot|sec|csc)\s*[({]?\s*(\d+(?:\.\d+)?)\s*\^\s*\\circ\s*[)}]?"),
        r"\\\1(\\frac{\2\\pi}{180})",
    ),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*"), r" \\cdot "),
    (re.compile(r"(?<![A-Za-z\\])(pi|infty)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z\\])infinity(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"(?<![A-Za-z\\])(sin|cos|tan|cot|sec|csc|ln|log|exp)(?=\s*[\d({^\\])"), r"\\\1"),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\$"), ""),
)


def equivalent(answer: str, reference: str) -> bool:
    """Whether two tidied answers are the same number, expression, set, interval, matrix or relation.

    The order of a tuple matters and that of a set or a list does not; `x = 5` answers `5`.
    May take any time and any memory: the caller sets the limits.
    """
    if not (_balanced(answer) and _balanced(reference)) or _SPACED_DIGITS.search(answer):
        return False
    gold, ours = _parse(_prepare(reference)), _parse(_prepare(answer))
    if not gold or not ours or not _kinds_agree(answer, reference) or _refuted(gold[0], ours[0]):
        return False
    if isinstance(gold[0], Interval | Union) != isinstance(ours[0], Interval | Union):
        solutions = _solutions(gold[0]), _solutions(ours[0])
        if solutions[0] is not None and solutions[1] is not None:
            return solutions[0] == solutions[1]
    return verify(gold, ours, timeout_seconds=None) or _equal_exactly(gold[0], ours[0])


def _solutions(parsed: Any) -> Set | None:
    """The real numbers that an inequality in one unknown, or several joined by "or", or an interval, allows."""
    if isinstance(parsed, Interval | Union):
        return _exact(parsed)
    parts = parsed.args if isinstance(parsed, FiniteSet) else [parsed]
    if not parts or not all(isinstance(part, Relational | And | Or) for part in parts):
        return None
    if len({symbol for part in parts for symbol in part.free_symbols}) != 1:
        return None
    try:
        real = [part.subs({symbol: Symbol("x", real=True) for symbol in part.free_symbols}) for part in parts]
        return Union(*[S.Reals.intersect(_exact(part).as_set()) for part in real])
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return None


def _equal_exactly(gold: object, ours: object) -> bool:
    """Equality with decimals taken as the fractions that they are, or to twelve digits where they became roots."""
    if not isinstance(gold, Expr) or not isinstance(ours, Expr) or not (gold - ours).has(Float):
        return False
    if gold.is_number and ours.is_number:
        values = [complex(side.evalf(20)) for side in (gold, ours)]
        return abs(values[0] - values[1]) <= _ALIKE * max(map(abs, values))
    return simplify(_exact(gold) - _exact(ours)) == 0


def _exact(parsed: Any) -> Any:
    return parsed.xreplace({number: Rational(str(number)) for number in parsed.atoms(Float)})


def _refuted(gold: object, ours: object) -> bool:
    """Whether two expressions differ at a point, which is cheaper to see than that they agree everywhere.

    Wrong answers are the common case, and `simplify` spends a hundred times as long on them.
    """
    if not isinstance(gold, Expr) or not isinstance(ours, Expr):
        numbers = [side for side in (gold, ours) if isinstance(side, Expr) and side.is_number]
        return bool(numbers) and any(isinstance(side, Interval | Union) for side in (gold, ours))
    symbols = sorted(gold.free_symbols | ours.free_symbols, key=str)
    point = [(symbol, Rational(prime, 7)) for symbol, prime in zip(symbols, _PRIMES, strict=False)]
    if len(point) < len(symbols):
        return False
    try:
        values = [complex(side.subs(point).evalf(15)) for side in (gold, ours)]
        difference, size = abs(values[0] - values[1]), max(map(abs, values))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError):
        return False
    return isfinite(size) and difference > _CLEARLY_APART * max(size, 1.0)


def _prepare(text: str) -> str:
    text = _without_name(_JOINED.sub(", ", _WORDED.sub(r" \1 ", text)))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return _root_braces(text).strip()


def _without_name(text: str) -> str:
    """`k=2, k=3` and `k=2, 3` as `2, 3`: the values of one unknown."""
    entries = text.split(",")
    named = [_NAMED.fullmatch(entry) for entry in entries]
    names = {match.group(1) for match in named if match}
    if len(entries) < 2 or len(names) != 1 or any("=" in e and not m for e, m in zip(entries, named, strict=True)):
        return text
    return ",".join(match.group(2) if match else entry for entry, match in zip(entries, named, strict=True))


def _root_braces(text: str) -> str:
    """`sqrt(x+1)` as `\\sqrt{x+1}`."""
    while (match := re.search(r"(?<![A-Za-z])\\?sqrt\s*\(", text)) is not None:
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            break
        text = f"{text[: match.start()]}\\sqrt{{{text[match.end() : end - 1]}}}{text[end:]}"
    return text


@lru_cache(maxsize=256)
def _parse(text: str) -> list[Any]:
    found = parse(f"\\boxed{{{text}}}", extraction_config=_CONFIG, parsing_timeout=0)
    return [_with_imaginary_unit(part) for part in found]


def _with_imaginary_unit(parsed: Any) -> Any:
    """math-verify reads `i` as one symbol or another, by what stands around it."""
    if not isinstance(parsed, Basic):
        return parsed
    return parsed.xreplace({symbol: I for symbol in parsed.free_symbols if getattr(symbol, "name", "") == "i"})


def _kinds_agree(answer: str, reference: str) -> bool:
    """What math-verify, which reads a bare list as a set, would let pass: `(2,1)` as `1,2`, and `1,1,2` as `1,2`."""
    if _repetitions(answer) != _repetitions(reference):
        return False
    kinds = {kind for kind in (_kind(answer), _kind(reference)) if kind}
    return kinds != {"tuple", "set"}


def _repetitions(text: str) -> int:
    """How many entries of a bare list stand in it before."""
    if text.lstrip().startswith(("(", "[", "\\{", "\\begin")):
        return 0
    entries = ["".join(entry.split()) for entry in _JOINED.sub(",", _THOUSANDS.sub("", text)).split(",")]
    return len(entries) - len(set(entries))


def _kind(text: str) -> str | None:
    _, body = split_assignment(text)
    if body.startswith("(") and body.endswith(")") and "," in body:
        return "tuple"
    return "set" if body.startswith("\\{") and body.endswith("\\}") else None


def _balanced(text: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[{}]", text):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0
