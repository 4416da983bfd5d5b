"""What a program is tested by: inputs with their outputs, calls with their values, or assertions in Python."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from opdkit.sandbox.inside import encode

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
_PLAIN = "__plain__"
_Call = tuple[str, list[object], object]


@dataclass(frozen=True)
class ProgramTests:
    """The tests of one problem. Calls and assertions may stand together: the calls come first.

    Attributes:
        stdin: what the program reads, and what it should print.
        calls: arguments of `function` and the value it should return, as `sandbox.inside.encode` writes them.
        checks: assertions that are run behind the program, in its own process.
        function: what calls and assertions are about, "" where the tests do not say.
        loose: whether a tuple is as good as a list in `calls`.
        prelude: run before the program: the names that it may take for granted.
        setup: run behind it, before the assertions.
        prompt: the beginning of the program that the problem shows, which an answer may go on from.
    """

    stdin: Sequence[tuple[str, str]] = ()
    calls: Sequence[tuple[Any, Any]] = ()
    checks: Sequence[str] = ()
    function: str = ""
    loose: bool = False
    prelude: str = ""
    setup: Sequence[str] = ()
    prompt: str = ""

    @property
    def count(self) -> int:
        """How many tests there are."""
        return len(self.stdin) + len(self.calls) + len(self.checks)

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
        return cls(
            calls=[(encode(arguments), encode(value)) for _, arguments, value in calls],
            checks=[_guarded(tree) for tree in rest],
            function=function or next(filter(None, map(_first_called, trees)), ""),
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
        return cls(
            calls=[(encode(arguments), encode(value)) for _, arguments, value in calls],
            checks=[] if calls and len(calls) == len(found) else [_guarded(tree)],
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


def _first_called(tree: ast.AST) -> str:
    """The name of the function that an assertion calls in its left side, "" for none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Call) and isinstance(node.left.func, ast.Name):
            return node.left.func.id
    return ""


def _says_nothing(statement: ast.stmt) -> bool:
    """A docstring, `pass`, or an assertion of a constant such as `assert True, "..."`."""
    if isinstance(statement, ast.Assert):
        return isinstance(statement.test, ast.Constant) and bool(statement.test.value)
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _guarded(tree: ast.Module) -> str:
    """Assertions whose operands must be plain values: none whose comparisons the program wrote itself."""
    return ast.unparse(ast.fix_missing_locations(_Guard().visit(tree)))


class _Guard(ast.NodeTransformer):
    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        node.left, node.comparators = _plain(node.left), [_plain(one) for one in node.comparators]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        node.left, node.right = _plain(node.left), _plain(node.right)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        node.operand = _plain(node.operand)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        node.values = [_plain(one) for one in node.values]
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        node.test = _plain(node.test)
        return node


def _plain(value: ast.expr) -> ast.expr:
    if isinstance(value, ast.Constant | ast.Compare | ast.BoolOp):
        return value
    return ast.Call(ast.Name(_PLAIN, ast.Load()), [value], [])


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
