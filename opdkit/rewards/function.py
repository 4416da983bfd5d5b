"""A user function as the reward."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.rewards.base import Group, OpenReward, RewardContext
from opdkit.rewards.measures import agreement, signal, task_verdicts

_CALL = {False: "(problem, response, siblings)", True: "(problem, responses)"}


@dataclass(frozen=True)
class FunctionReward:
    """The reward is the value of a user function: a finite number or a `Grade`.

    Attributes:
        function: `path.py:name` or `module:name`. It is called as f(problem, response, siblings), where `problem` is a
            `Problem`, `response` a string and `siblings` the tuple of the other responses to the same prompt.
        whole_group: whether it is instead called once per group, as f(problem, responses), and returns one value each.
    """

    function: str
    whole_group: bool = False

    def open(self, context: RewardContext) -> OpenReward:
        """See `Reward`. Imports the function."""
        function = load_function(self.function)
        try:
            inspect.signature(function).bind(*([None] * (2 if self.whole_group else 3)))
        except TypeError as error:
            raise UserError(f"{self._place()} can't be called as {_CALL[self.whole_group]}: {error}") from None
        except ValueError:
            pass  # a function implemented in C has no signature
        return OpenFunction(self, function, context)

    def _place(self) -> str:
        return f"reward.function={self.function}"


def load_function(named: str) -> Callable[..., Any]:
    """Import the function `path.py:name` or `module:name`. Raises UserError."""
    place = f"reward.function={named}"
    source, _, name = named.rpartition(":")
    if not source or not name.isidentifier():
        raise UserError(f"{place} names no function; needed: path.py:name or module:name")
    try:
        module = _from_file(Path(source).expanduser()) if source.endswith(".py") else importlib.import_module(source)
    except FileNotFoundError:
        raise UserError(f"{place}: there is no file {source}") from None
    except Exception as error:  # the user's module may raise anything while it is imported
        raise UserError(f"{place} can't be imported: {_error_line(error)}") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{place}: {source} has no function {name}")
    return function


class OpenFunction:
    """A user's function, ready to grade."""

    def __init__(self, spec: FunctionReward, function: Callable[..., Any], context: RewardContext) -> None:
        self._spec = spec
        self._function = function
        self._context = context
        self._metrics: dict[str, float] = {}

    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        """See `OpenReward`. Raises UserError if the function raises or returns an invalid value."""
        verdicts = task_verdicts(self._context.grade, groups)
        grades = [
            [self._grade(group, value, right) for value, right in zip(self._values(group), correct, strict=True)]
            for group, correct in zip(groups, verdicts, strict=True)
        ]
        self._metrics = dict(signal(grades))
        if (agreed := agreement(grades)) is not None:
            self._metrics["agreement"] = agreed
        return grades

    def metrics(self) -> Mapping[str, float]:
        """`signal` and `agreement`."""
        return self._metrics

    def close(self) -> None:
        """See `OpenReward`."""

    def _values(self, group: Group) -> Sequence[Any]:
        responses = group.responses
        if not self._spec.whole_group:
            return [
                self._call(group, text, responses[:place] + responses[place + 1 :])
                for place, text in enumerate(responses)
            ]
        values = self._call(group, responses)
        if (
            isinstance(values, str | bytes | Mapping)
            or not hasattr(values, "__len__")
            or not hasattr(values, "__iter__")
        ):
            raise self._refusal(group, f"returned {_shown(values)}, not a list of {len(responses)} rewards")
        if len(values) != len(responses):
            raise self._refusal(group, f"returned {len(values)} rewards for {len(responses)} responses")
        return list(values)

    def _call(self, group: Group, *arguments: object) -> Any:
        try:
            return self._function(group.problem, *arguments)
        except Exception as error:  # the user's function may raise anything
            raise self._refusal(group, f"raised {_error_line(error)}") from None

    def _grade(self, group: Group, value: Any, correct: bool | None) -> Grade:
        if isinstance(value, Grade):
            reward: Any = value.reward
            grade = value if value.correct is not None else replace(value, correct=correct)
        else:
            reward, grade = value, None
        if not isinstance(reward, Real):
            raise self._refusal(group, f"returned {_shown(value)}, not a number or a Grade")
        number = float(reward)
        if not math.isfinite(number):
            raise self._refusal(group, f"returned {number}, not a finite number")
        return Grade(number, correct) if grade is None else replace(grade, reward=number)

    def _refusal(self, group: Group, reason: str) -> UserError:
        return UserError(f"reward.function={self._spec.function} {reason}, for problem {group.problem.identifier}")


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(f"opdkit_reward_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up the module of their annotations
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _error_line(error: BaseException) -> str:
    """Type, first line and location of an error, in one line."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name} line {frames[-1].lineno})" if frames else text


def _shown(value: object) -> str:
    return f"a {type(value).__name__}" if value is not None else "nothing"
