"""Parses `the answer is ...` sentences: all formulas and the text between and after them."""

from __future__ import annotations

import re

from opdkit.grading.units import MEANINGFUL_WORDS, canonical_unit

_END = re.compile(
    r"(?<!\\)[.\u3002;!?](?=\s|$)|\u3002"
    r"|,?\s(?:because|since|which|as|so|where|when|after|in total|in all)\b"
    r"|,\s(?!and\b|or\b)[A-Za-z]{3,}"
    r"|\sby\s(?=[A-Za-z]{2})"
    r"|\sfor\b(?!\s(?:all|every|any)\b)"
    r"|\s\([A-Za-z]{2,}\s",
    re.IGNORECASE,
)
_FORMULA = re.compile(
    r"\$\$(.{1,2000}?)\$\$|(?<!\\)\$((?:\\.|[^$\\]){1,2000})\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]"
)
_MONEY = re.compile(r"\s?[\d.,]+\s+[A-Za-z]")
_WORDS = re.compile(r"[A-Za-z][A-Za-z ,'-]*")
_EMPHASIS = "*_ \t\r"


def sentence_answer(line: str) -> str:
    """The answer after `the answer is`, up to the end of the sentence, with formulas undelimited.

    Words after a single formula are dropped if they do not affect its value.
    """
    line = " ".join(line.split())
    parts, formulas, place = [], 0, 0
    for match in _FORMULA.finditer(line):
        inside = next(group for group in match.groups() if group is not None)
        if match.group(2) is not None and _is_money(inside, line[match.end() :]):
            continue
        prose = line[place : match.start()]
        if stop := _END.search(prose):
            parts.append(prose[: stop.start()])
            break
        parts += [prose, inside.strip()]
        formulas, place = formulas + 1, match.end()
    else:
        prose = line[place:]
        stop = _END.search(prose)
        parts.append(prose[: stop.start()] if stop else prose)
    if formulas == 1 and len(parts) == 3 and not parts[0].strip(_EMPHASIS) and _says_nothing(parts[2]):
        parts.pop()
    return "".join(parts).strip(_EMPHASIS)


def _says_nothing(prose: str) -> bool:
    words = prose.strip(f"{_EMPHASIS},.")
    if not words:
        return True
    meaningful = MEANINGFUL_WORDS.intersection(words.lower().replace(",", " ").split())
    return bool(_WORDS.fullmatch(words)) and not meaningful and not canonical_unit(words)


def _is_money(inside: str, behind: str) -> bool:
    """Whether dollar signs denote prices: `$5 and not $6` has two, not the formula `5 and not `."""
    return behind[:1].isdigit() and (bool(_MONEY.match(inside)) or inside[-1:] in " ,")
