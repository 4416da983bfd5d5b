"""`opdkit ls data task.path=...`: previews a task's problems as the model sees them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.config.build import build_preview
from opdkit.console.terminal import printable
from opdkit.errors import UserError, error_prefix

if TYPE_CHECKING:
    from opdkit.data.problem import Problem
    from opdkit.models import LanguageModel

_SHOWN = 3
_COUNTED = 1000


def run(arguments: Sequence[str]) -> int:
    """Prints the detected columns, three rendered prompts with their token counts, and prompt length statistics."""
    typed = list(arguments) if any(text.startswith("task=") for text in arguments) else ["task=dataset", *arguments]
    source, spec, limit = build_preview(*single_job(read("train", typed), "opdkit ls data"))
    from opdkit.models import load_skeleton
    from opdkit.tasks import ProblemSource, Telling

    if not isinstance(source, ProblemSource):
        raise UserError("opdkit ls data: shows single tasks with problems; this one has episodes or several tasks")
    with error_prefix("task."):
        problems = source.load()
        lines = source.told() if isinstance(source, Telling) else [f"{source.name}: {len(problems)} problems"]
    model = load_skeleton(spec)
    for line in lines:
        print(printable(line))
    for number, problem in enumerate(problems[:_SHOWN], start=1):
        _show(number, problem, model)
    lengths = [len(model.render(problem.messages)) for problem in problems[:_COUNTED]]
    over = sum(length > limit for length in lengths)
    print(
        f"\ntokens of {f'the first {_COUNTED}' if len(problems) > _COUNTED else 'all'} prompts ({spec.path}): "
        f"{min(lengths)} to {max(lengths)}, median {statistics.median(lengths):g}; {over} longer than "
        f"rollout.max_prompt_tokens={limit}" + (", which a run passes over" if over else "")
    )
    return 0


def _show(number: int, problem: Problem, model: LanguageModel) -> None:
    plain = model.tokenizer.chat_template is None
    text = "\n".join(turn.content for turn in problem.messages) if plain else model.render_text(problem.messages)
    gold = repr(problem.reference) if problem.reference else "none"
    print(f"\n{number}. {printable(problem.identifier)}, {len(model.render(problem.messages))} tokens, answer {gold}")
    for line in text.splitlines():
        print(f"   | {printable(line)}".rstrip())
