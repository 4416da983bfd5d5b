"""Reads the tests of a program from a row, in the formats of public datasets."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from opdkit.errors import UserError
from opdkit.grading.program_tests import ProgramTests
from opdkit.tasks.columns import look_up
from opdkit.tasks.files import Place, Row

TESTS = (
    "public_test_cases", "input_output", "inputs", "test_list", "test", "test_cases", "tests",
    "reward_model.ground_truth", "ground_truth",
)  # fmt: skip
FORMS = (
    "public_test_cases as LiveCodeBench's; input_output, or inputs and outputs, as APPS's and TACO's; test_list of "
    "assertions as MBPP's; test with entry_point as HumanEval's; reward_model.ground_truth as verl's"
)
_FUNCTIONS = ("fn_name", "entry_point", "metadata.func_name", "metadata.fn_name", "input_output.fn_name")
_PRIVATE = "private_test_cases"


def read_tests(place: Place, row: Row, column: str) -> ProgramTests:
    """The tests in `column` of a row. Raises UserError for an unknown format."""
    value = parsed(look_up(row, column)[1])
    function = _function(row)
    try:
        tests = _tests(row, column, value, function)
    except SyntaxError as error:
        raise UserError(f"{place}: column {column!r} has an assertion that is no Python: {error.msg}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{place}: column {column!r} has a test that can't be read: {error}") from None
    if tests is None or not tests.count:
        raise UserError(f"{place}: column {column!r} has no tests in a known form; allowed: {FORMS}")
    return tests


def has_pickled_tests(row: Row) -> bool:
    """Whether the row has LiveCodeBench's private tests in their original format, a pickle that is never read."""
    value = row.get(_PRIVATE)
    return isinstance(value, str) and bool(value.strip()) and not isinstance(parsed(value), list)


def parsed(value: object) -> Any:
    """A value, parsed if it is the JSON text of an object or list."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _function(row: Row) -> str:
    opened = {name: parsed(row.get(name)) for name in ("metadata", "input_output")}
    for name in _FUNCTIONS:
        found = look_up({**row, **opened}, name)[1]
        if isinstance(found, str) and found.strip():
            return found.strip()
    return ""


def _tests(row: Row, column: str, value: Any, function: str) -> ProgramTests | None:
    if column == "inputs":
        value = {"inputs": value, "outputs": parsed(look_up(row, "outputs")[1])}
    if isinstance(value, Mapping) and {"inputs", "outputs"} <= value.keys():
        return _of_pairs(_list(value["inputs"]), _list(value["outputs"]), str(value.get("fn_name") or function))
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        private = parsed(row.get(_PRIVATE)) if column == "public_test_cases" else None
        cases = [*value, *(private if isinstance(private, list) else [])]
        if any(one.get("testtype") == "functional" for one in cases) and not function:
            raise ValueError("a functional one, and the row names no function (metadata.func_name)")
        functional = function if all(one.get("testtype") != "stdin" for one in cases) else ""
        return _of_pairs([one["input"] for one in cases], [one["output"] for one in cases], functional)
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        setup = [row.get("test_setup_code"), *_list(row.get("test_imports") or [])]
        return ProgramTests.of_assertions(cast("list[str]", value), "\n".join(str(one) for one in setup if one))
    if isinstance(value, str) and "def check(" in value and function:
        prompt = row.get("prompt")
        return ProgramTests.of_check(value, function, prompt if isinstance(prompt, str) else "")
    if isinstance(value, str) and value.lstrip().startswith("assert"):
        return ProgramTests.of_assertions([ast.unparse(one) for one in ast.parse(value).body])
    return None


def _of_pairs(inputs: Sequence[Any], outputs: Sequence[Any], function: str) -> ProgramTests:
    if len(inputs) != len(outputs):
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
    if function:
        read = _each(inputs, _arguments), _each(outputs, _value)
        return ProgramTests.of_calls(function, list(zip(*read, strict=True)))
    return ProgramTests.of_outputs(list(zip(_each(inputs, _text), _each(outputs, _text), strict=True)))


def _each(values: Sequence[Any], read: Callable[[Any], Any]) -> list[Any]:
    return [read(one) for one in values]


def _arguments(value: Any) -> list[Any]:
    """A call's arguments: a list, or one JSON value per line."""
    if isinstance(value, str):
        return [json.loads(line) for line in value.strip().split("\n")] if value.strip() else []
    return value if isinstance(value, list) else [value]


def _value(value: Any) -> Any:
    """A function's return value, as JSON or unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _text(value: Any) -> str:
    """Input or output: a text, or a list of lines."""
    return "\n".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list is needed, not {type(value).__name__}")
    return cast("list[Any]", value)
