"""Command names with their `opdkit --help` lines. Command x is implemented by `opdkit.cli.x.run`."""

from __future__ import annotations

COMMANDS = {
    "train": "train a student on its own rollouts under a teacher",
    "sweep": "train once per combination of values (train --multirun)",
    "eval": "evaluate a model on benchmarks",
    "doctor": "check models, teacher and task for problems before a run",
    "serve": "serve a teacher's scores over HTTP, for `train teacher=remote`",
    "study": "run a study of the method: figures, a table, reproduced results",
    "show": "show rollouts and responses, coloured by log-ratio: `opdkit show RUN`",
    "chat": "chat with a model: `opdkit chat model.path=...`",
    "report": "compare runs on one page: `opdkit report runs/`",
    "ls": "list groups and options: `opdkit ls objective`; preview a dataset: `opdkit ls data task.path=...`",
    "cp": "copy an option for editing: `opdkit cp objective/topk`",
    "init": "create a project: objective, reward, recipe, test, Makefile",
    "check": "compose and bind every experiment and option, without loading weights",
}
