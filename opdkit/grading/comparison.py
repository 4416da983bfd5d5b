"""Compares two tidied answers: rules decompose them, and a judge compares the parts.

In the run's process the judge decides what needs no algebra and leaves the rest open (`at_once`); in the grading worker
it uses algebra.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from opdkit.grading.chains import compare_equations
from opdkit.grading.equality import Judge, Judges, Outcome, decided, equal_numbers, every
from opdkit.grading.limits import refusal
from opdkit.grading.matching import unordered
from opdkit.grading.normal_form import compact, read_number
from opdkit.grading.quantities import (
    TEXT,
    equal_quantities,
    equal_times,
    flat,
    has_condition,
    read_base,
    read_quantities,
    read_time,
)
from opdkit.grading.relations import compare_relations
from opdkit.grading.shapes import (
    Shape,
    assignments,
    both_signs,
    in_order,
    items_of,
    one_unknown,
    read_shape,
    with_points,
    without_membership,
    without_name,
    without_names,
)
from opdkit.grading.units import split_unit
from opdkit.grading.values import clearly_different
from opdkit.grading.words import behind_letter, choice_letter, equal_words

Rule = Callable[[str, str, Judges], "Outcome | None"]

_IF = r"(?:\\text\s*\{\s*(?:,\s*)?(?:if|when|for)\s*\}|\b(?:if|when|for)\b)"
_BRANCH = re.compile(rf"\s*&\s*{_IF}?\s*|\s*{_IF}\s*|\s*(?=\\text\s*\{{\s*(?:,\s*)?otherwise)|\s+(?=otherwise\b)")
_CASES = re.compile(r"\\begin\s*\{cases\}(.*)\\end\s*\{cases\}", re.DOTALL)
_DEEPEST = 6
_BUILDER = ("\\mid", "|", "\\mathbb", "\\cup", ":")


def compare(answer: str, reference: str, judge: Judge, depth: int = 0) -> Outcome:
    """The outcome for two tidied answers; YES and NO are final, OPEN means the judge could not decide a part."""
    if not answer or not reference:
        return Outcome.NO
    if compact(answer) == compact(reference):
        return Outcome.YES
    if depth > _DEEPEST:
        return Outcome.NO
    answer, reference = _bare(answer), _bare(reference)
    judges = Judges(lambda ours, gold: compare(ours, gold, judge, depth + 1), judge)
    for rule in _RULES:
        told = rule(answer, reference, judges)
        if told is not None:
            return told
    return judge(answer, reference)


def at_once(ours: str, gold: str) -> Outcome:
    """The outcome, without algebra, for two answers without further structure."""
    if compact(flat(ours)).casefold() == compact(flat(gold)).casefold() and "\\text" in ours + gold:
        return Outcome.YES
    if refusal(ours) is None and clearly_different(ours, gold):
        return Outcome.NO
    return Outcome.OPEN


def _bare(text: str) -> str:
    """The text without a leading plus, enclosing brackets (unless a list), and text markup."""
    text = text.strip()
    if (match := TEXT.fullmatch(text)) and any(character.isdigit() for character in match.group(1)):
        text = match.group(1).strip()
    text = text.removeprefix("+").strip()
    while text[:1] == "(" and text[-1:] == ")" and "," not in text and _whole(text):
        text = text[1:-1].strip()
    return text


def _whole(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def _numbers(ours: str, gold: str, _: Judges) -> Outcome | None:
    mine, theirs = read_number(ours), read_number(gold)
    if mine is None or theirs is None:
        return None
    if (mine.bare or theirs.bare) and mine.unit != theirs.unit:
        return Outcome.NO  # a letter after only one of the numbers is a variable
    return decided(equal_numbers(mine, theirs))


def _bases(ours: str, gold: str, _: Judges) -> Outcome | None:
    mine, theirs = read_base(ours), read_base(gold)
    if mine is None and theirs is None:
        return None
    if mine is not None and theirs is not None:
        return decided(mine == theirs)
    based, other = (mine, gold) if mine is not None else (theirs, ours)
    bare = re.sub(r"[ ,]", "", other).lstrip("0") or "0"
    # A base named in the reference may be omitted; an unnamed base is ten.
    return decided(based is not None and bare == based.digits and (mine is None or based.base == 10))


def _times(ours: str, gold: str, _: Judges) -> Outcome | None:
    mine, theirs = read_time(ours), read_time(gold)
    if not any(time is not None and time[2] for time in (mine, theirs)):
        return None
    return decided(mine is not None and theirs is not None and equal_times(mine, theirs))


def _cases(ours: str, gold: str, judges: Judges) -> Outcome | None:
    if not has_condition(ours) and not has_condition(gold):
        return None
    mine, theirs = _branches(ours), _branches(gold)
    if has_condition(ours) != has_condition(gold) or [len(row) for row in mine] != [len(row) for row in theirs]:
        return Outcome.NO
    pairs = [pair for rows in zip(mine, theirs, strict=True) for pair in zip(*rows, strict=True)]
    return every(
        decided(compact(flat(one)) == compact(flat(other)))
        if has_condition(one) or has_condition(other)
        else judges.part(one, other)
        for one, other in pairs
    )


def _branches(text: str) -> list[list[str]]:
    """A piecewise answer as [value, condition] pairs."""
    match = _CASES.search(text)
    rows = match.group(1).split("\\\\") if match else items_of(text)
    cells = [[part.strip(" ,.") for part in _BRANCH.split(row, maxsplit=1)] for row in rows if row.strip()]
    return [[part for part in row if part] for row in cells]


def _words(ours: str, gold: str, judges: Judges) -> Outcome | None:
    letter, chosen = choice_letter(gold), choice_letter(ours)
    if letter is not None and chosen is not None:
        return decided(chosen == letter)
    if letter is None and (said := behind_letter(ours)) is not None:
        return judges.part(said, gold)
    return equal_words(ours, gold, read_number(gold) is not None)


def _quantities(ours: str, gold: str, _: Judges) -> Outcome | None:
    mine, theirs = read_quantities(ours), read_quantities(gold)
    if not any(side is not None and any(side.units) for side in (mine, theirs)):
        return None
    if mine is not None and theirs is not None:
        return decided(equal_quantities(mine, theirs))
    return Outcome.NO if read_number(gold if theirs is None else ours) is not None else None


def _assignments(ours: str, gold: str, judges: Judges) -> Outcome | None:
    mine, theirs = assignments(ours), assignments(gold)
    if mine is None and theirs is None:
        return None
    roots = one_unknown([*(mine or {}), *(theirs or {})])
    if mine is not None and theirs is not None:
        if roots:
            return unordered(list(mine.values()), list(theirs.values()), judges.part)
        if set(mine) != set(theirs):
            return Outcome.NO
        return every([judges.part(mine[name], theirs[name]) for name in theirs])
    named, other = (mine, gold) if mine is not None else (theirs, ours)
    shape = read_shape(without_names(other))
    if named is None or shape is None or shape.kind not in ("list", "tuple", "set"):
        return Outcome.NO
    values = in_order(named)
    one, two = (values, shape.items) if mine is not None else (shape.items, values)
    if len(one) != len(two):
        return Outcome.NO
    if roots and shape.kind != "tuple":
        return unordered(one, two, judges.part)
    return every([judges.part(a, b) for a, b in zip(one, two, strict=True)])


def _shapes(ours: str, gold: str, judges: Judges) -> Outcome | None:
    mine, theirs = _shape(ours), _shape(gold)
    if mine is None and theirs is None:
        return None
    known = mine or theirs
    alone = known if known is not None and (mine is None or theirs is None) else None
    if alone is not None and (alone.kind not in ("list", "set") or any(sign in ours + gold for sign in _BUILDER)):
        return judges.whole(ours, gold)
    one, other = mine or Shape("list", (ours,)), theirs or Shape("list", (gold,))
    kinds = {one.kind, other.kind}
    single = one if one.kind == "set" else other
    if kinds == {"set", "tuple"} and len(single.items) == 1:  # the set of one point
        return judges.part(one.items[0], gold) if single is one else judges.part(ours, other.items[0])
    if kinds <= {"list", "set"}:
        return unordered(_expanded(one.items), _expanded(other.items), judges.part)
    ordered = len(kinds) == 1 or kinds == {"tuple", "list"}
    if not ordered or len(one.items) != len(other.items) or (len(kinds) == 1 and one.brackets != other.brackets):
        return Outcome.NO
    return every([judges.part(a, b) for a, b in zip(one.items, other.items, strict=True)])


def _shape(text: str) -> Shape | None:
    shape = read_shape(with_points(without_names(without_membership(text))))
    if shape is None or shape.kind not in ("list", "set"):
        return shape
    return Shape(shape.kind, tuple(without_name(shape.items)))


def _expanded(items: Sequence[str]) -> list[str]:
    return [value for item in items for value in both_signs(item)]


def _units(ours: str, gold: str, judges: Judges) -> Outcome | None:
    (body, unit), (gold_body, gold_unit) = split_unit(ours), split_unit(gold)
    if unit is None and gold_unit is None:
        return None
    if unit and gold_unit and unit != gold_unit:
        return Outcome.NO
    return judges.part(body, gold_body)


_RULES: tuple[Rule, ...] = (
    _bases,
    _times,
    _numbers,
    _words,
    _cases,
    _quantities,
    _assignments,
    compare_relations,
    _shapes,
    compare_equations,
    _units,
)
