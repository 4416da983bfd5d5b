"""Tests of a program: inputs with outputs, calls with return values, or Python assertions."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from opdkit.grading.assertions import called_names, first_called, guarded
from opdkit.sandbox.wire import encode

_PRELUDE = """\
import bisect, collections, copy, datetime, functools, heapq, io, itertools, json, math, operator, os, random, re
import string, sys, time
from bisect import *
from collections import *
from copy import copy, deepcopy
from functools import *
from heapq import *
from itertools import *
from math import *
from operator import add, and_, itemgetter, mul, or_, xor
from string import *
from typing import *
from builtins import pow
"""
_Call = tuple[str, list[object], object]


@dataclass(frozen=True)
class ProgramTests:
    """The tests of one problem. Calls and assertions can be combined: calls run first.

    Attributes:
        stdin: (input, expected output) pairs.
        calls: arguments of `function` and its expected return value, as `sandbox.wire.encode` writes them.
        exams: assertions run without the program; their calls are forwarded to its process.
        checks: assertions run after the program in its process, because they need more of it than values.
        names: the functions that `exams` call.
        function: the tested function, "" if the tests do not name one.
        loose: whether tuples equal lists in `calls`.
        prelude: code run before the program: common imports that it may rely on.
        setup: code run after the program, before the assertions.
        prompt: starter code shown in the problem, which an answer may continue.
    """

    stdin: Sequence[tuple[str, str]] = ()
    calls: Sequence[tuple[Any, Any]] = ()
    exams: Sequence[str] = ()
    checks: Sequence[str] = ()
    names: Sequence[str] = ()
    function: str = ""
    loose: bool = False
    prelude: str = ""
    setup: Sequence[str] = ()
    prompt: str = ""

    @property
    def count(self) -> int:
        """The number of tests."""
        return len(self.stdin) + len(self.calls) + len(self.exams) + len(self.checks)

    @property
    def digest(self) -> str:
        """A 16-character hash of the tests."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    @classmethod
    def of_outputs(cls, pairs: Sequence[tuple[str, str]]) -> ProgramTests:
        """Tests from standard inputs and expected outputs."""
        return cls(stdin=pairs, prelude=_PRELUDE)

    @classmethod
    def of_calls(cls, function: str, cases: Sequence[tuple[list[Any], Any]]) -> ProgramTests:
        """Tests from JSON argument lists and expected return values."""
        return cls(
            calls=[(encode(arguments), encode(value)) for arguments, value in cases],
            function=function,
            loose=True,
            prelude=_PRELUDE,
        )

    @classmethod
    def of_assertions(cls, assertions: Sequence[str], setup: str = "") -> ProgramTests:
        """Tests from single assertions, as in MBPP. Raises SyntaxError for invalid Python."""
        trees = [ast.parse(text) for text in assertions]
        found = [_call(tree.body[0]) if len(tree.body) == 1 else None for tree in trees]
        function = next((call[0] for call in found if call is not None), "")
        calls = [call for call in found if call is not None and call[0] == function]
        rest = [tree for tree, call in zip(trees, found, strict=True) if call is None or call[0] != function]
        function = function or next(filter(None, map(first_called, trees)), "")
        asked = [called_names(tree, [setup], function) for tree in rest]
        return cls(
            calls=[(encode(arguments), encode(value)) for _, arguments, value in calls],
            exams=[guarded(tree) for tree, names in zip(rest, asked, strict=True) if names is not None],
            checks=[guarded(tree) for tree, names in zip(rest, asked, strict=True) if names is None],
            names=sorted({name for names in asked for name in names or ()}),
            function=function,
            setup=[setup] if setup.strip() else [],
        )

    @classmethod
    def of_check(cls, test: str, function: str, prompt: str = "") -> ProgramTests:
        """Tests from a function `check(candidate)` of assertions, as in HumanEval. Raises SyntaxError."""
        tree = ast.parse(test)
        body = next(
            (node.body for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"), None
        )
        if body is None:
            raise SyntaxError("no function check(candidate)")
        found = [_call(statement, "candidate") for statement in body if not _says_nothing(statement)]
        calls = [call for call in found if call is not None]
        tree.body += ast.parse(f"check({function})").body
        rest = [] if calls and len(calls) == len(found) else [tree]
        names = called_names(tree, [prompt], function)
        return cls(
            calls=[(encode(arguments), encode(value)) for _, arguments, value in calls],
            exams=[guarded(tree) for tree in rest if names is not None],
            checks=[guarded(tree) for tree in rest if names is None],
            names=sorted(names or ()),
            function=function,
            prelude=prompt if _parses(prompt) else "",
            prompt=prompt,
        )


def _call(statement: ast.stmt, name: str | None = None) -> _Call | None:
    """Function, arguments and value of `assert f(1, [2]) == 3`, which can be tested from outside; else None."""
    if not isinstance(statement, ast.Assert) or not isinstance(statement.test, ast.Compare):
        return None
    compared = statement.test
    called = compared.left
    if len(compared.ops) != 1 or not isinstance(compared.ops[0], ast.Eq) or not isinstance(called, ast.Call):
        return None
    if not isinstance(called.func, ast.Name) or called.keywords or (name or called.func.id) != called.func.id:
        return None
    try:
        arguments = [ast.literal_eval(one) for one in called.args]
        value = ast.literal_eval(compared.comparators[0])
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None
    return None if _holds_other([arguments, value]) else (called.func.id, arguments, value)


def _holds_other(value: object) -> bool:
    return '"other"' in json.dumps(encode(value))


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, `pass`, or a constant assertion such as `assert True, "..."`."""
    if isinstance(statement, ast.Assert):
        return isinstance(statement.test, ast.Constant) and bool(statement.test.value)
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
