"""`opdkit chat model.path=...`: an interactive chat with a model, prompted as in a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.config.build import build_chat
from opdkit.data.problem import Message
from opdkit.untrusted import visible


def run(arguments: Sequence[str]) -> int:
    """Answers each line of stdin with `sampler`, `temperature` and `rollout.max_new_tokens` until EOF.

    An empty line starts a new chat.
    """
    spec, spoken, seed = build_chat(*single_job(read("train", arguments), "opdkit chat"))
    from opdkit.generation import Ask
    from opdkit.models import load
    from opdkit.seeding import derive_seed

    model = load(spec)
    engine = spoken.rollout.open(model)
    chat: list[Message] = []
    for number, line in enumerate(_lines(spec.path)):
        if not line:
            chat = []
            print("(a new chat)")
            continue
        chat.append(Message("user", line))
        ask = Ask(tuple(model.render(chat)), derive_seed(seed, "chat", number), spoken.rollout.max_new_tokens)
        (answer,) = engine.generate([ask], spoken.sampling)
        text = model.decode(answer.ids)
        chat.append(Message("assistant", text))
        cut = " (cut: rollout.max_new_tokens)" if answer.stop_reason == "length" else ""
        print(f"{visible(text)}{cut}", flush=True)
    return 0


def _lines(name: str) -> Iterator[str]:
    asks = sys.stdin.isatty()
    if asks:
        print(f"{name}; an empty line starts a new chat, Ctrl-D quits", flush=True)
    while True:
        if asks:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.strip()
