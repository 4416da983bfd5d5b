"""Algebraic equality of two answers: values at points, then math-verify. Imported only by the grading worker."""

from __future__ import annotations

import logging
import re
from cmath import isfinite
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import And, Basic, Expr, FiniteSet, Float, I, Interval, Or, Rational, S, Set, Symbol, Union, simplify
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.core.relational import Relational

from opdkit.grading.comparison import at_once, compare
from opdkit.grading.equality import Outcome, decided
from opdkit.grading.proof import compare_equations_by_values, compare_values
from opdkit.grading.quantities import TEXT
from opdkit.grading.shapes import members_of, read_chain

logging.getLogger("math_verify").setLevel(logging.ERROR)
_NORMAL = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
)
_CONFIG = (LatexExtractionConfig(boxed_match_priority=0, normalization_config=_NORMAL),)
_SPACED_DIGITS = re.compile(r"\d\s+\d")  # two adjacent numbers, which math-verify would add
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


def decision(request: Mapping[str, str]) -> Callable[[], bool]:
    """A function that decides whether the request's answer equals its reference."""
    return lambda: equivalent(request["answer"], request["reference"])


def equivalent(answer: str, reference: str) -> bool:
    """Whether two tidied answers are the same number, expression, set, interval, matrix or relation.

    May take unbounded time and memory: the caller sets limits.
    """
    return compare(answer, reference, judge) is Outcome.YES


def judge(ours: str, gold: str) -> Outcome:
    """The outcome for two answers without further structure; never OPEN."""
    for told in (at_once(ours, gold), compare_values(ours, gold), _related(ours, gold)):
        if told is not Outcome.OPEN:
            return told
    if TEXT.search(ours) or TEXT.search(gold):
        return Outcome.NO
    return decided(_algebra(ours, gold))


def _related(ours: str, gold: str) -> Outcome:
    """Whether two equations or inequalities are equal up to a factor."""
    mine, theirs = members_of(ours), members_of(gold)
    if len(mine) == len(theirs) == 2:
        return compare_equations_by_values((mine[0], mine[1]), (theirs[0], theirs[1]), signed=False)
    chain, other = read_chain(ours), read_chain(gold)
    if chain is None or other is None or chain.signs != other.signs or len(chain.signs) != 1:
        return Outcome.OPEN
    sides = (chain.members[0], chain.members[1]), (other.members[0], other.members[1])
    return compare_equations_by_values(*sides, signed=chain.signs != ("!=",))


def _algebra(ours: str, gold: str) -> bool:
    if not (_balanced(ours) and _balanced(gold)) or _SPACED_DIGITS.search(ours):
        return False
    theirs, mine = _parse(_prepare(gold)), _parse(_prepare(ours))
    if not theirs or not mine or not _kinds_agree(mine[0], theirs[0]) or _refuted(theirs[0], mine[0]):
        return False
    if isinstance(theirs[0], Interval | Union) != isinstance(mine[0], Interval | Union):
        solutions = _solutions(theirs[0]), _solutions(mine[0])
        if solutions[0] is not None and solutions[1] is not None:
            return solutions[0] == solutions[1]
    if isinstance(theirs[0], Expr) and isinstance(mine[0], Expr) and (_bound(theirs[0]) or _bound(mine[0])):
        return verify(theirs, mine, timeout_seconds=None) or simplify(theirs[0].doit() - mine[0].doit()) == 0
    return verify(theirs, mine, timeout_seconds=None) or _equal_exactly(theirs[0], mine[0])


def _bound(parsed: object) -> bool:
    """Whether an expression contains a sum, a product or an integral."""
    return isinstance(parsed, Expr) and parsed.has(ExprWithLimits)


def _kinds_agree(ours: object, gold: object) -> bool:
    """Rejects what math-verify would accept: a relation against its right-hand side, several values against one."""
    kinds = [isinstance(side, Relational | And | Or) for side in (ours, gold)]
    sets = [isinstance(side, Set | tuple | list) for side in (ours, gold)]
    return (kinds[0] == kinds[1] or any(sets)) and (
        sets[0] == sets[1] or any(kinds) or not all(isinstance(side, Expr | Set) for side in (ours, gold))
    )


def _solutions(parsed: Any) -> Set | None:
    """The solution set of an interval or of inequalities in one unknown, possibly joined by "or"."""
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
    """Equality with decimals as exact fractions, or to twelve digits if they became roots."""
    if not isinstance(gold, Expr) or not isinstance(ours, Expr) or not (gold - ours).has(Float):
        return False
    if gold.is_number and ours.is_number:
        values = [complex(side.evalf(20)) for side in (gold, ours)]
        return abs(values[0] - values[1]) <= _ALIKE * max(map(abs, values))
    return simplify(_exact(gold) - _exact(ours)) == 0


def _exact(parsed: Any) -> Any:
    return parsed.xreplace({number: Rational(str(number)) for number in parsed.atoms(Float)})


def _refuted(gold: object, ours: object) -> bool:
    """Whether two expressions differ at a point, which is cheaper than proving them equal.

    Wrong answers are the common case, and `simplify` takes a hundred times as long on them.
    """
    if not isinstance(gold, Expr) or not isinstance(ours, Expr):
        return False
    if _bound(gold) or _bound(ours):
        return False
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
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip()


@lru_cache(maxsize=256)
def _parse(text: str) -> list[Any]:
    found = parse(f"\\boxed{{{text}}}", extraction_config=_CONFIG, parsing_timeout=0)
    return [_with_plain_names(part) for part in found]


def _with_plain_names(parsed: Any) -> Any:
    """Unifies the imaginary unit, for which math-verify has several symbols, and the names of bound variables."""
    if not isinstance(parsed, Basic):
        return parsed
    parsed = parsed.xreplace({symbol: I for symbol in parsed.free_symbols if getattr(symbol, "name", "") == "i"})
    bound = [limit[0] for part in parsed.atoms(ExprWithLimits) for limit in part.limits]
    names = {variable: Symbol(f"bound_{place}", integer=True) for place, variable in enumerate(dict.fromkeys(bound))}
    return parsed.xreplace(names) if not parsed.free_symbols & names.keys() else parsed


def _balanced(text: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[{}]", text):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0
