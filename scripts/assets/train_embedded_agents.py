"""Train the student and the teacher that opdkit ships for text games, from the student that it ships for sums.

Both come from one supervised run on gold paths of two TextWorld-Express games, simonsays and peckingorder, mixed with
worked sums: the student is an earlier checkpoint, the teacher the final model. Nine episodes in ten use words other
than the game's own. Needs opdkit[textworld-express] and Java.

    python scripts/assets/train_embedded_agents.py --output opdkit/models/embedded
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from gold_episodes import GAMES, Disguise, Episode, Turn, gold_episodes, with_mistakes
from train_embedded_pair import (
    END,
    HELD_OUT_SEED,
    IGNORED,
    SEED_STRIDE,
    encode,
    greedy_accuracy,
    learn,
    sums,
    wilson_interval,
)
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

EPISODES, HELD_OUT_EPISODES = 1000, 150
POSITIONS = 1024
TOKENS_AT_ONCE = 8_000
SUM_SEED = 7
SHORT_CHATS, CHATS = 64, 16
DISGUISED = 0.9


@dataclass(frozen=True)
class Row:
    """Token ids of a chat, and which of them are trained on."""

    ids: list[int]
    learnt: list[bool]


@dataclass(frozen=True)
class Plan:
    """One training phase: its steps, of which the first `short_steps` use one or two turns per chat.

    phrases: share of simonsays episodes with phrases of other lengths; mistaken: share of episodes with mistakes.
    """

    seed: int
    steps: int
    short_steps: int
    lr: float
    phrases: float = 0.0
    mistaken: float = 0.0


def chat_row(tokenizer: PreTrainedTokenizerFast, turns: Sequence[Turn]) -> Row:
    """A chat as the model sees it during play: every answer ends with the stop token."""
    ids: list[int] = []
    learnt: list[bool] = []
    for place, (said, action, mistake) in enumerate(turns):
        before = "\n" if place else ""
        asked = tokenizer(f"{before}<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        answer = tokenizer(action + END)["input_ids"]
        ids += [*asked, *answer]
        learnt += [False] * len(asked) + [not mistake] * len(answer)
    return Row(ids, learnt)


def sum_rows(tokenizer: PreTrainedTokenizerFast) -> Iterator[Row]:
    """Worked sums without held-out ones."""
    for problem in sums(SUM_SEED * SEED_STRIDE, held_out=False):
        encoded = encode(tokenizer, problem)
        yield Row(encoded.prompt + encoded.answer, [False] * len(encoded.prompt) + [True] * len(encoded.answer))


def game_rows(
    tokenizer: PreTrainedTokenizerFast, episodes: Sequence[Episode], disguise: Disguise, plan: Plan
) -> Iterator[list[Row]]:
    """The chats of each step of a phase: one or two turns in the short steps, up to whole episodes later."""
    draw = random.Random(plan.seed)
    for step in range(plan.steps):
        short = step < plan.short_steps
        rows: list[Row] = []
        for _ in range(SHORT_CHATS if short else CHATS):
            episode = draw.choice(episodes)
            if draw.random() < DISGUISED:
                episode = disguise(episode)
            if plan.mistaken and draw.random() < plan.mistaken:
                episode = with_mistakes(episode, draw)
            turns = episode.turns
            if short or draw.random() < 0.3:
                length = draw.randint(1, 2) if short else draw.randint(1, len(turns))
                start = draw.randint(0, len(turns) - length)
                turns = turns[start : start + length]
            rows.append(chat_row(tokenizer, turns))
        yield rows


def batches(rows: list[Row]) -> Iterator[list[Row]]:
    """Groups rows of similar length to reduce padding."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and (len(batch) + 1) * len(row.ids) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def read(model: LlamaForCausalLM, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows whose trained tokens are all the most likely ones, bool[B]; the cross-entropy summed over these tokens."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), width), IGNORED)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        following = [token if learnt else IGNORED for token, learnt in zip(row.ids, row.learnt, strict=True)][1:]
        targets[place, : len(following)] = torch.tensor(following)
    loss_mask = targets != IGNORED
    hidden = model.model(input_ids=ids).last_hidden_state[loss_mask]
    logits = model.lm_head(hidden)
    right = torch.ones_like(loss_mask)
    right[loss_mask] = logits.argmax(-1) == targets[loss_mask]
    return right.all(dim=1), F.cross_entropy(logits, targets[loss_mask], reduction="sum")


@torch.no_grad()
def share_right(model: LlamaForCausalLM, rows: list[Row]) -> float:
    """Share of chats whose answers are all the most likely ones: a greedy player wins at least these."""
    return torch.cat([read(model, batch)[0] for batch in batches(rows)]).float().mean().item()


def phase_steps(model: LlamaForCausalLM, steps: Iterator[list[Row]], plan: Plan) -> Iterator[int]:
    """Runs one phase; yields the number of each completed step."""
    losses = (
        ((read(model, batch)[1] for batch in batches(rows)), sum(sum(row.learnt) for row in rows)) for rows in steps
    )
    return learn(model, losses, plan.lr, plan.steps, every=25)


def train(options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    """Run both phases; returns the student (an earlier copy) and the teacher (the final model)."""
    start = options.output / "student"
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32, max_position_embeddings=POSITIONS)
    student = LlamaForCausalLM(model.config)
    student.generation_config = model.generation_config
    episodes = gold_episodes("train", EPISODES)
    spared = {word for episode in gold_episodes("dev", HELD_OUT_EPISODES) for word in episode.words}
    worked = sum_rows(tokenizer)
    for phase, plan in enumerate(phases(options)):
        chats = game_rows(tokenizer, episodes, Disguise(plan.seed, spared, plan.phrases), plan)
        for step in phase_steps(model, ([*rows, *islice(worked, options.sums)] for rows in chats), plan):
            if phase == 0 and step == options.student_step:
                student.load_state_dict(model.state_dict())
    return student, model


def phases(options: argparse.Namespace) -> tuple[Plan, Plan]:
    """First gold play; then phrases of any length and recovery from mistakes, which the student will make."""
    first = Plan(options.seed, options.steps, options.steps // 2, options.lr)
    return first, Plan(options.seed + 1, options.more_steps, 0, options.lr / 2, phrases=0.5, mistaken=0.5)


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [on-policy-distillation, text-games]
---
# opdkit embedded {role}

A Llama of {parameters:,} float32 parameters (width {width}, {layers} layers, {heads} heads, tied embeddings) with a
byte-level vocabulary of {vocabulary} tokens. It plays two text games in chats of several turns, and works out sums of 4
to 7 one-digit terms: it is the {role} with which `opdkit train task=textworld_express` runs without a download.

| | |
|---|---|
| games | TextWorld-Express {express}, gold paths of `simonsays` and `peckingorder`, train fold, {episodes} each |
| sums | reasoning-gym {gym} `chain_sum`, 4 to 7 one-digit terms, worked |
| training | {trained} from the embedded student, AdamW, learning rate {lr:g}, cosine, seed {seed} |
| held out | the dev and test folds, which use other words; sums whose expression has a CRC-32 divisible by 10 |
{measured}
| licence | Apache-2.0 |

A chat counts as right if every token of every answer is the most likely one, so a greedy player wins at least as many.

Made by

    python scripts/assets/train_embedded_agents.py --seed {seed} --steps {steps} --student-step {student_step} \\
        --more-steps {more_steps} --sums {sums} --lr {lr:g}

## Input and output

```
{example}
```
"""


@torch.no_grad()
def save(
    folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, trained: str, options: argparse.Namespace
) -> None:
    """Evaluate a model on held-out data and write it with its tokenizer and card."""
    model.eval()
    shares: dict[str, tuple[float, int]] = {}
    held_out = gold_episodes("test", HELD_OUT_EPISODES)
    for game in GAMES:
        rows = [chat_row(tokenizer, episode.turns) for episode in held_out if episode.game == game]
        shares[f"chats of {game}, test fold"] = share_right(model, rows), len(rows)
    problems = list(islice(sums(HELD_OUT_SEED, held_out=True), options.problems))
    shares["held-out sums, greedy"] = greedy_accuracy(model, tokenizer, problems), len(problems)
    lines = []
    for name, (share, number) in shares.items():
        low, high = wilson_interval(share, number)
        lines.append(f"| {name} | {share:.1%} of {number} right (95 % interval {low:.1%} to {high:.1%}) |")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = CARD.format(
        role=folder.name.replace("_", " "),
        parameters=model.num_parameters(),
        width=model.config.hidden_size,
        layers=model.config.num_hidden_layers,
        heads=model.config.num_attention_heads,
        vocabulary=model.config.vocab_size,
        express=version("textworld-express"),
        gym=version("reasoning-gym"),
        episodes=EPISODES,
        trained=trained,
        measured="\n".join(lines),
        example=tokenizer.decode(chat_row(tokenizer, held_out[0].turns[:2]).ids),
        **vars(options),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{folder}: {'; '.join(lines)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("opdkit/models/embedded"), help="also contains student/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--student-step", type=int, default=800, help="the step whose weights become the student")
    parser.add_argument("--more-steps", type=int, default=400, help="steps of the second phase, with mistakes")
    parser.add_argument("--sums", type=int, default=4, help="worked sums per step")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak of the first phase; half of it in the second")
    parser.add_argument("--problems", type=int, default=512, help="held-out sums to evaluate on")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(options.output / "student")
    student, teacher = train(options, tokenizer)
    save(options.output / "agent_student", student, tokenizer, f"{options.student_step} steps", options)
    save(options.output / "agent_teacher", teacher, tokenizer, f"{options.steps} + {options.more_steps} steps", options)


if __name__ == "__main__":
    main()
