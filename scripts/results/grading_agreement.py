"""How graders agree on equivalents and near misses of gold answers: `python scripts/results/grading_agreement.py`.

Every gold answer is rewritten in ways that preserve it (another notation, a unit, an order) and in ways that change it;
a rewriting applies to golds of matching form. Opdkit's grader and math-verify alone (its defaults, gold and answer
boxed, in a separate process with a time limit) judge the same pairs. With `--repeat` everything is graded twice and
differing grades are counted. Data: `--data` names the folder with math500.jsonl, amc23.jsonl and the others.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from opdkit.grading.grade import grade_mathematics

SETS = {
    "math500": ("math500.jsonl", "answer"),
    "amc23": ("amc23.jsonl", "answer"),
    "aime24": ("aime24.jsonl", "answer"),
    "gsm8k": ("gsm8k_test.jsonl", "answer"),
    "dapo": ("dapo_math_17k.jsonl", "solution"),
}
_INTEGER = re.compile(r"-?\d{1,15}")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_BASE = re.compile(r"(\d+)_\{?(\d+)\}?")
_PAIR = re.compile(r"(?:\\left)?\(\s*([^(),]+),\s*([^(),]+?)\s*(?:\\right)?\)")
_DEGREES = re.compile(r"(\d+)\^\\circ")
_LETTER = re.compile(r"\\text\{\(?([A-J])\)?\}")


class Pair(NamedTuple):
    """A rewritten answer.

    Attributes:
        gold: The answer of the dataset.
        response: What a model might write.
        equal: Whether it is the same answer.
        kind: The rewriting's name.
    """

    gold: str
    response: str
    equal: bool
    kind: str


def boxed(answer: str) -> str:
    """A response that ends with the answer in a box."""
    return f"So we obtain \\boxed{{{answer}}}."


def integers(gold: str) -> Iterator[tuple[str, str, bool]]:
    """Rewritings of an integer."""
    if not _INTEGER.fullmatch(gold):
        return
    n = int(gold)
    yield "decimal", boxed(f"{n}.0"), True
    yield "fraction", boxed(rf"\frac{{{3 * n}}}{{3}}"), True
    yield "named", boxed(f"x = {n}"), True
    yield "approximately", boxed(rf"\approx {n}"), True
    yield "unit", boxed(rf"{n}\text{{ cm}}"), True
    yield "thousands", boxed(f"{n:,}"), True
    yield "sentence", f"The answer is ${n}$.", True
    yield "sum", boxed(f"{n - 7}+7"), True
    yield "brackets", boxed(f"(({n}))"), True
    yield "root", boxed(rf"\sqrt{{{n * n}}}"), n >= 0
    yield "off by one", boxed(f"{n + 1}"), False
    yield "sign", boxed(f"{-n}"), n == 0
    yield "digit", boxed(f"{n}{abs(n) % 10}"), n == 0
    yield "hedge", f"The answer is ${n}$ or ${n + 1}$.", False
    yield "million", boxed(rf"{n}\text{{ million}}"), n == 0
    yield "base", boxed(f"{n}_{{7}}"), False
    yield "letter", boxed(f"{n}s"), False
    yield "percent of it", boxed(rf"\frac{{{n}}}{{100}}"), n == 0
    yield "false equation", boxed(f"{n + 1} = {n}"), False
    yield "range", boxed(rf"{n} \pm 1"), False


def fractions(gold: str) -> Iterator[tuple[str, str, bool]]:
    """Rewritings of a fraction."""
    match = _FRACTION.fullmatch(gold)
    if match is None:
        return
    sign, value = match.group(1), Fraction(int(match.group(2)), int(match.group(3)))
    top, bottom = value.numerator, value.denominator
    yield "doubled", boxed(rf"{sign}\frac{{{2 * top}}}{{{2 * bottom}}}"), True
    yield "slash", boxed(f"{sign}{top}/{bottom}"), True
    yield "ten digits", boxed(f"{sign}{float(value):.10f}"), True
    yield "inverted", boxed(rf"{sign}\frac{{{bottom}}}{{{top}}}"), top == bottom
    yield "two digits", boxed(f"{sign}{float(value):.2f}"), (value * 100).denominator == 1
    yield "sign", boxed(rf"{'' if sign else '-'}\frac{{{top}}}{{{bottom}}}"), False


def others(gold: str) -> Iterator[tuple[str, str, bool]]:
    """Rewritings of numbers in a base, pairs, degrees, choices, roots and expressions."""
    if match := _BASE.fullmatch(gold):
        digits, base = match.groups()
        yield "base in words", boxed(rf"{digits}_{{\text{{{base}}}}}"), True
        yield "another base", boxed(f"{digits}_{{{int(base) + 1}}}"), False
    if match := _PAIR.fullmatch(gold):
        first, second = match.groups()
        same = first.strip() == second.strip()
        yield "unknowns", boxed(f"x={first}, y={second}"), True
        yield "exchanged", boxed(f"({second},{first})"), same
        yield "unknowns exchanged", boxed(f"x={second}, y={first}"), same
        yield "set", boxed(rf"\{{{first},{second}\}}"), False
    if match := _DEGREES.fullmatch(gold):
        yield "degrees in words", boxed(rf"{match.group(1)}\text{{ degrees}}"), True
        yield "off by one", boxed(rf"{int(match.group(1)) + 1}^\circ"), False
    if match := _LETTER.fullmatch(gold):
        yield "option", boxed(rf"\text{{Option {match.group(1)}}}"), True
        yield "another letter", boxed(chr(ord("A") + (ord(match.group(1)) - ord("A") + 1) % 10)), False
    if re.search(r"\\sqrt|\\pi|[a-z]\^", gold) and not re.search(r"\\text|\\mbox|[,=<>]|\\pm|\\cup|\\in|\\begin", gold):
        yield "doubled and halved", boxed(rf"\frac{{2({gold})}}{{2}}"), True
        yield "moved", boxed(f"-1+{gold}+1"), True
        yield "Unicode", boxed(gold.replace(r"\pi", "\u03c0").replace("^2", "\u00b2").replace(r"\sqrt", "\u221a")), True
        yield "off by one", boxed(f"{gold}+1"), False
        yield "doubled", boxed(f"2({gold})"), False
        yield "letter behind", boxed(f"({gold})t"), False


def same(gold: str) -> Iterator[tuple[str, str, bool]]:
    """The gold answer itself."""
    yield "itself", boxed(gold), True
    yield "after another", rf"\boxed{{17+x}} no, it is \boxed{{{gold}}}", True
    yield "unfinished", rf"<think>\boxed{{{gold}}}", False


REWRITINGS: tuple[Callable[[str], Iterator[tuple[str, str, bool]]], ...] = (same, integers, fractions, others)


def pairs_of(folder: Path, name: str, limit: int) -> list[Pair]:
    """The distinct pairs of a set: all rewritings of `limit` of its golds."""
    file, column = SETS[name]
    rows = [json.loads(line) for line in (folder / file).read_text("utf-8").splitlines()]
    golds = [str(row[column]).rsplit("####", 1)[-1].strip().removesuffix(".0") for row in rows]
    golds = sorted(set(golds))
    random.Random(0).shuffle(golds)
    found = dict[tuple[str, str], Pair]()
    for gold in golds[:limit]:
        for rewriting in REWRITINGS:
            for kind, response, equal in rewriting(gold):
                found[gold, response] = Pair(gold, response, equal, kind)
    return list(found.values())


def math_verify_alone(pairs: list[Pair]) -> list[bool]:
    """math-verify's verdict on each pair."""
    import logging

    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    told = list[bool]()
    for pair in pairs:
        gold = parse(f"\\boxed{{{pair.gold}}}", parsing_timeout=3)
        answer = parse(pair.response, parsing_timeout=3)
        told.append(bool(gold and answer and verify(gold, answer, timeout_seconds=3)))
    return told


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=400, help="golds per set")
    parser.add_argument("--repeat", action="store_true")
    parser.add_argument("--show", action="store_true", help="print the pairs that are graded differently than intended")
    given = parser.parse_args()
    print("| set | equivalents | opdkit | math-verify | near misses | opdkit calls right | math-verify calls right |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    total, differing, seconds, statuses = Counter[str](), 0, 0.0, Counter[str]()
    for name in SETS:
        pairs = pairs_of(given.data, name, given.limit)
        asked = [(pair.response, pair.gold) for pair in pairs]
        started = time.perf_counter()
        grades = grade_mathematics(asked)
        seconds += time.perf_counter() - started
        statuses.update(grade.status for grade in grades)
        if given.repeat:
            from opdkit.grading import grade

            grade._cache.clear()
            differing += sum(one != other for one, other in zip(grades, grade_mathematics(asked), strict=True))
        peer = math_verify_alone(pairs)
        counts = Counter[str]()
        for pair, ours, theirs in zip(pairs, grades, peer, strict=True):
            side = "equal" if pair.equal else "near"
            counts.update({side: 1, f"{side} ours": int(bool(ours.correct)), f"{side} theirs": int(theirs)})
            if given.show and bool(ours.correct) != pair.equal:
                print(f"{pair.kind}: {pair.gold!r} {pair.response!r} is {ours}")
        total.update(counts)
        print_row(name, counts)
    print_row("**all**", total)
    count = total["equal"] + total["near"]
    print(f"\n{count} pairs in {seconds:.1f} s: {count / seconds:.0f} per second; statuses {dict(statuses)}")
    if given.repeat:
        print(f"graded a second time: {differing} grades differ")


def print_row(name: str, counts: Counter[str]) -> None:
    """One line of the table."""
    columns = ("equal", "equal ours", "equal theirs", "near", "near ours", "near theirs")
    print(f"| {name} | " + " | ".join(str(counts[column]) for column in columns) + " |", flush=True)


if __name__ == "__main__":
    main()
