"""Decides which answers are too expensive for algebra."""

from __future__ import annotations

import re

ANSWER_LIMIT = 1000
_DEPTH_LIMIT = 12
_ROOTS_LIMIT = 30
_TOO_LARGE = re.compile(
    r"\d{301}"  # a number with hundreds of digits
    r"|(?:\^|\*\*)\s{0,4}[-+({\s]{0,8}\d{5}"  # a huge exponent
    r"|[\d)}]\s{0,4}(?:\^|\*\*)\s{0,4}[-+]?\d{1,20}\s{0,4}(?:\^|\*\*)"  # a tower of powers, without brackets
    r"|[\d)}]\s{0,4}(?:\^|\*\*)\s{0,4}[({][^(){}]{0,99}\d\s{0,4}(?:\^|\*\*)"  # and with brackets
    r"|\d{5}\s{0,4}!|!\s{0,4}!|[)}]\s{0,4}\)\s{0,4}!"  # a huge or repeated factorial
    r"|(?:\d{4}|\^|\*\*)[^()]{0,99}\)\s{0,4}!"
    r"|\)\s{0,4}(?:\^|\*\*)\s{0,4}[{(]?\s{0,4}\d{4}"  # a sum to a huge power
    r"|\\(?:sum|prod)[^^]{0,60}\^\s{0,4}\{?\s{0,4}\d{4}|\\binom\s{0,4}\{\s{0,4}\d{5}"
    r"|factorial|binomial|__|\blambda\s{0,4}:|\bimport\b|\beval\b|\bexec\b",
)


def refusal(answer: str) -> str | None:
    """Why algebra is not attempted on an answer ("too_long", "too_complex"), or None.

    This only saves time: whatever passes still runs in a process with its own limits.
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
