"""What a program is tested by: inputs with their outputs, calls with their values, or assertions in Python."""

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
    """The tests of one problem. Calls and assertions may stand together: the calls come first.

    Attributes:
        stdin: what the program reads, and what it should print.
        calls: arguments of `function` and the value it should return, as `sandbox.wire.encode` writes them.
        exams: assertions that are run without the program: what they call is asked of its process.
        checks: assertions that are run behind the program, in its own process, where they need more of it than values.
        names: of the functions that `exams` call.
        function: what calls and assertions are about, "" where the tests do not say.
        loose: whether a tuple is as good as a list in `calls`.
        prelude: run before the program: the names that it may take for granted.
        setup: run behind it, before the assertions.
        prompt: the beginning of the program that the problem shows, which an answer may go on from.
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
        """How many tests there are."""
        return len(self.stdin) + len(self.calls) + len(self.exams) + len(self.checks)

    @property
    def digest(self) -> str:
        """What names these tests and no others, in sixteen characters."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    @classmethod
    def of_outputs(cls, pairs: Sequence[tuple[str, str]]) -> ProgramTests:
        """Inputs on standard input, and the outputs they should have."""
        return cls(stdin=pairs, prelude=_PRELUDE)

    @classmethod
    def of_calls(cls, function: str, cases: Sequence[tuple[list[Any], Any]]) -> ProgramTests:
        """Lists of arguments that are JSON, and the values that the function should return."""
        return cls(
            calls=[(encode(arguments), encode(value)) for arguments, value in cases],
            function=function,
            loose=True,
            prelude=_PRELUDE,
        )

    @classmethod
    def of_assertions(cls, assertions: Sequence[str], setup: str = "") -> ProgramTests:
        """Assertions that each are one test, as MBPP has them. Raises SyntaxError for what is no Python."""
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
        """A function `check(candidate)` of assertions, as HumanEval has it. Raises SyntaxError."""
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
    """The function, arguments and value of `assert f(1, [2]) == 3`, which can be asked from outside; else None."""
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
    """A docstring, `pass`, or an assertion of a constant such as `assert True, "..."`."""
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
