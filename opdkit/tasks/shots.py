"""Few-shot prompts: worked examples before questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opdkit.data.problem import Message, Problem
from opdkit.errors import UserError


def with_shots(problems: Sequence[Problem], examples: Sequence[Problem]) -> list[Problem]:
    """The problems with the examples as earlier turns of the chat, after the system prompt.

    An example is answered by its worked solution, or by its boxed answer if it has none. Raises UserError if an example
    is also a problem.
    """
    turns = [turn for example in examples for turn in (example.messages[-1], Message("assistant", _answer(example)))]
    shown = {example.messages[-1].content for example in examples}
    for problem in problems:
        if problem.messages[-1].content in shown:
            raise UserError(f"shots_from: {problem.identifier} is an example and is asked as well; name other rows")
    return [replace(problem, messages=_joined(problem.messages, turns)) for problem in problems]


def _joined(messages: tuple[Message, ...], turns: Sequence[Message]) -> tuple[Message, ...]:
    system = tuple(turn for turn in messages if turn.role == "system")
    return (*system, *turns, *(turn for turn in messages if turn.role != "system"))


def _answer(example: Problem) -> str:
    solution = example.context.get("solution", "")
    return solution if solution.strip() else f"\\boxed{{{example.context.get('answer', example.reference)}}}"
