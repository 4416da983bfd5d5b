"""Shrinks household planning problems of text games so that a planner solves them quickly."""

from __future__ import annotations

import re

_COMMENT = re.compile(r";.*")
_WORD = re.compile(r"[^\s()]+")
_DECLARED = re.compile(r"^\s*(\S+)\s+-\s+(object|receptacle)\s*$", re.MULTILINE)
_FACT = re.compile(r"\([^()]*\)")


def without_the_rest(domain: str, problem: str) -> str:
    """`problem` without objects and receptacles that no short solution needs.

    Keeps objects of types in the goal, and receptacles that contain one of them or are of a type named in the goal
    or an action (a sink, a microwave, a fridge). No action's precondition requires the absence of an object or
    receptacle, so each solution of the result also solves `problem`.
    """
    domain = _COMMENT.sub("", domain)
    head, goal = problem.split("(:goal", 1)
    facts = [_WORD.findall(fact) for fact in _FACT.findall(head)]
    asked = _types("objectType", goal)
    objects = {fact[1] for fact in facts if fact[0] == "objectType" and fact[2] in asked}
    places = _types("receptacleType", domain) | _types("receptacleType", goal)
    receptacles = {fact[1] for fact in facts if fact[0] == "receptacleType" and fact[2] in places}
    receptacles |= {fact[2] for fact in facts if fact[0] == "inReceptacle" and fact[1] in objects}
    dropped = {name for name, _ in _DECLARED.findall(head)} - objects - receptacles
    lines = [line for line in head.splitlines() if dropped.isdisjoint(_WORD.findall(line))]
    return "\n".join(lines) + "\n(:goal" + goal


def _types(predicate: str, text: str) -> set[str]:
    """The types that `predicate` requires: its second argument, unless a variable."""
    return set(re.findall(rf"\({predicate}\s+\?\S+\s+([^\s()?]+)\s*\)", text))
