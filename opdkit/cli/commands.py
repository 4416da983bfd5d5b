"""The names of the commands, each with a line for `opdkit --help`. Command x is `run` of `opdkit.cli.x`."""

from __future__ import annotations

COMMANDS = {
    "train": "train a student on its own rollouts under a teacher",
    "sweep": "train once for each combination of several values (train --multirun)",
    "eval": "one model on benchmarks",
    "doctor": "what a run would trip over: models, teacher and task looked at together",
    "serve": "a teacher's scores over HTTP, for `train teacher=remote`",
    "study": "a question about the method, worked out: figures, a table, what was reproduced",
    "show": "rollouts and responses in the terminal, coloured by log-ratio: `opdkit show RUN`",
    "chat": "a talk with a model: `opdkit chat model.path=...`",
    "report": "runs compared on one page: `opdkit report runs/`",
    "ls": "what can be chosen: `opdkit ls`, `opdkit ls objective`; prompts of a set: `opdkit ls data task.path=...`",
    "cp": "a copy of an option to change: `opdkit cp objective/topk`",
    "init": "a folder of your own to start from: objective, reward, recipe, test, Makefile",
    "check": "compose and bind every experiment and option, without loading a weight",
}
