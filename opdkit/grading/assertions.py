"""Analyses Python assertions: which of the program's functions they call, and the operands they compare."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence

_PLAIN = "__plain__"
_BUILTINS = frozenset(dir(builtins))


def first_called(tree: ast.AST) -> str:
    """The first called name that is not a built-in, "" if there is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in _BUILTINS:
            return node.func.id
    return ""


def called_names(tree: ast.Module, context: Sequence[str], function: str) -> set[str] | None:
    """The program's functions called by the assertions, including `function`.

    None if they need more than calls, such as a class of the program, or if their `context` (setup code, the prompt)
    is not valid Python.
    """
    try:
        known = set(_BUILTINS).union(*(_bound(ast.parse(text)) for text in context), _bound(tree))
    except (SyntaxError, ValueError):
        return None
    if not function or function[:1].isupper():  # by convention a class
        return None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {function}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in known | {function}:
            if id(node) not in called or node.id[:1].isupper():
                return None
            found.add(node.id)
    return found


def _bound(tree: ast.AST) -> Iterator[str]:
    """The names that the code binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def guarded(tree: ast.Module) -> str:
    """Assertions that reject operands with operators defined by the program; see `sandbox.plain`."""
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
