"""Parses the structure of an answer: lists, sets, tuples, intervals, matrices, relations, assignments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_OPEN, _CLOSE = "([{", ")]}"
_JOIN = re.compile(
    r",?\s*\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|,?\s+(?:and|or)\b\s*|\\(?:lor|vee)(?![A-Za-z])|[,;]"
)
_STRONG_JOIN = re.compile(r"\\text\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|,?\s(?:and|or)\b\s*|\\(?:lor|vee)(?![A-Za-z])|;")
_COORDINATES = ("x", "y", "z")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MATRIX = re.compile(
    r"\\begin\s*\{([pbBvV]?matrix|array|smallmatrix)\}\s*(?:\{[lcr| ]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_RELATION = re.compile(r"\\(?:leq?|geq?|neq?|lt|gt)(?![A-Za-z])|<=|>=|!=|<|>")
_RELATIONS = {
    **dict.fromkeys((r"\le", r"\leq", "<="), "<="), **dict.fromkeys((r"\ge", r"\geq", ">="), ">="),
    **dict.fromkeys((r"\ne", r"\neq", "!="), "!="), **dict.fromkeys((r"\lt", "<"), "<"),
    **dict.fromkeys((r"\gt", ">"), ">"),
}  # fmt: skip
_TURNED = {">": "<", ">=": "<=", "<": "<", "<=": "<=", "!=": "!="}
NAME = re.compile(r"\\?[A-Za-z]+(?:\s*_\s*(?:\{\s*\w+\s*\}|\w+))?'*(?:\([A-Za-z]\))?")
_EQUATION = re.compile(r"(?<![<>!=:\\])=(?!=)|\\(?:approx|equiv)(?![A-Za-z])")
_MEMBER = re.compile(r"^([^=]+?)\s*\\in(?![A-Za-z])\s*")
_NAMES = re.compile(r"\(\s*([A-Za-z]\w?(?:\s*,\s*[A-Za-z]\w?)+)\s*\)\s*=\s*")


@dataclass(frozen=True)
class Shape:
    """The parts of an answer.

    Attributes:
        kind: "list", "set", "tuple", "interval" (square brackets, or one of each) or "matrix".
        items: The parts as text, of a matrix row by row.
        brackets: What opens and closes a tuple or an interval, the column count of a matrix.
    """

    kind: str
    items: tuple[str, ...]
    brackets: str = ""


@dataclass(frozen=True)
class Chain:
    """`a < b <= c` with its signs normalised to <, <= or !=."""

    members: tuple[str, ...]
    signs: tuple[str, ...]


def split_top(text: str, pattern: re.Pattern[str]) -> list[str]:
    """`text` split at the matches of `pattern` outside brackets."""
    depth, place, start, parts = 0, 0, 0, list[str]()
    cuts = {match.start(): match.end() for match in pattern.finditer(text)}
    while place < len(text):
        if depth == 0 and place in cuts:
            parts.append(text[start:place])
            place = start = cuts[place]
            continue
        depth += (text[place] in _OPEN) - (text[place] in _CLOSE)
        place += 1
    return [*parts, text[start:]]


def items_of(text: str) -> list[str]:
    """The entries of a bare list, `1, 2 and 3`."""
    thousands = ", " in text or " and " in text or " or " in text
    text = _THOUSANDS.sub("\x01", text) if thousands else text
    return [part.replace("\x01", "").strip() for part in split_top(text, _JOIN) if part.strip()]


def read_shape(text: str) -> Shape | None:
    """The parts of a tidied answer; None if it has no parts."""
    if match := _MATRIX.fullmatch(text):
        rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match.group(2)) if row.strip()]
        cells = [[cell.strip() for cell in row.split("&")] for row in rows]
        if cells and len({len(row) for row in cells}) == 1:
            kind = "determinant" if match.group(1)[0] in "vV" else "matrix"
            return Shape(kind, tuple(cell for row in cells for cell in row), str(len(cells[0])))
        return None
    for opening, closing, cut in (("\\{", "\\}", 2), ("{", "}", 1)):
        if text.startswith(opening) and text.endswith(closing) and _closes(text, cut - 1) == len(text) - 1:
            return Shape("set", tuple(items_of(text[cut:-cut])))
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and _closes(text, 0) == len(text) - 1:
        items = tuple(items_of(text[1:-1]))
        if len(items) >= 2:
            brackets = text[0] + text[-1]
            if len(items) > 2 and brackets == "[]":
                brackets = "()"
            return Shape("tuple" if brackets == "()" else "interval", items, brackets)
    items = items_of(text)
    if len(items) >= 2:
        return Shape("list", tuple(items))
    return Shape("list", tuple(both_signs(text))) if _PLUS_MINUS.search(text) else None


def _closes(text: str, opening: int) -> int:
    """Index where the bracket at `opening` closes, -1 if it does not."""
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] in _OPEN) - (text[place] in _CLOSE)
        if depth == 0:
            return place
    return -1


def both_signs(text: str) -> list[str]:
    """`a \\pm b` as its two values."""
    signs = _PLUS_MINUS.findall(text)
    if not signs:
        return [text]
    upper = _PLUS_MINUS.sub(lambda match: "+" if match.group().endswith("pm") else "-", text)
    lower = _PLUS_MINUS.sub(lambda match: "-" if match.group().endswith("pm") else "+", text)
    return [upper.strip().removeprefix("+"), lower.strip().removeprefix("+")]


def read_chain(text: str) -> Chain | None:
    """Parses an inequality, oriented so that the smaller side comes first."""
    found = list(_RELATION.finditer(text))
    if not found or "\\{" in text:
        return None
    members = [part.strip() for part in split_top(text, _RELATION)]
    signs = [_RELATIONS[match.group()] for match in found]
    if len(members) != len(signs) + 1 or not all(members):
        return None
    if {">", ">="} & set(signs):
        if {"<", "<="} & set(signs):
            return None
        members, signs = members[::-1], signs[::-1]
    return Chain(tuple(members), tuple(_TURNED[sign] for sign in signs))


def interval_of(chain: Chain) -> str | None:
    """`x < 3` and `1 < x <= 2` as intervals."""
    letters = [bool(NAME.fullmatch(member)) and member != "\\infty" for member in chain.members]
    if "!=" in chain.signs or letters.count(True) != 1:
        return None
    opening = {"<": "(", "<=": "["}
    closing = {"<": ")", "<=": "]"}
    if len(chain.members) == 2:
        if letters[0]:
            return rf"(-\infty,{chain.members[1]}{closing[chain.signs[0]]}"
        return rf"{opening[chain.signs[0]]}{chain.members[0]},\infty)"
    if len(chain.members) == 3 and letters[1]:
        return f"{opening[chain.signs[0]]}{chain.members[0]},{chain.members[2]}{closing[chain.signs[1]]}"
    return None


def members_of(text: str) -> list[str]:
    """The sides of `a = b = c`; the text itself if it is not an equation."""
    if "=" not in text and "\\approx" not in text and "\\equiv" not in text:
        return [text]
    return [part.strip() for part in split_top(text, _EQUATION)]


def without_membership(text: str) -> str:
    """`x \\in [1, 2]` as `[1, 2]`, `(x,y) \\in ...` likewise."""
    match = _MEMBER.match(text)
    return text[match.end() :] if match and len(match.group(1)) <= 20 else text


def assignments(text: str) -> dict[str, str] | None:
    """`x = 1, y = 2` and `(x, y) = (1, 2)` as values by name; None if a name repeats or there is none."""
    if match := _NAMES.match(text):
        names, shape = [name.strip() for name in match.group(1).split(",")], read_shape(text[match.end() :])
        if shape is None or shape.kind != "tuple" or len(shape.items) != len(names):
            return None
        return dict(zip(names, shape.items, strict=True))
    pairs = [members_of(item) for item in items_of(text)]
    if len(pairs) < 2 or not all(len(pair) == 2 and NAME.fullmatch(pair[0]) for pair in pairs):
        return None
    named = {"".join(name.split()): value for name, value in pairs}
    return named if len(named) == len(pairs) else None


def in_order(named: Mapping[str, str]) -> list[str]:
    """The values of names: coordinates in canonical order, others as written."""
    names = [name for name in _COORDINATES if name in named]
    return [named[name] for name in (names if len(names) == len(named) and names[:2] == ["x", "y"] else named)]


def with_points(text: str) -> str:
    """`x=1, y=2 or x=3, y=4` as `(1,2), (3,4)`; any other text as it is."""
    parts = [assignments(part) for part in split_top(text, _STRONG_JOIN)]
    points = [f"({','.join(in_order(part))})" for part in parts if part is not None]
    alike = len({frozenset(part or ()) for part in parts}) == 1
    return ", ".join(points) if alike and len(points) == len(parts) > 1 else text


def without_name(items: Sequence[str]) -> list[str]:
    """`k=2, k=3` and `k=2, 3` as `2, 3`: the values of one unknown."""
    pairs = [members_of(item) for item in items]
    names = {pair[0] for pair in pairs if len(pair) == 2}
    if len(names) != 1 or any(len(pair) > 2 for pair in pairs):
        return list(items)
    return [pair[-1] for pair in pairs]


def one_unknown(names: list[str]) -> bool:
    """Whether names are roots of one unknown: `x_1` and `x_2`."""
    return all("_" in name for name in names) and len({name.split("_")[0] for name in names}) == 1


def without_names(text: str) -> str:
    """`(x,y) = ...` without its names."""
    match = _NAMES.match(text)
    return text[match.end() :] if match else text
