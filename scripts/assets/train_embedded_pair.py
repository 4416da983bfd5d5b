"""Train the student and the teacher that opdkit ships, from scratch, on a CPU in a few minutes.

Both come from one supervised run on worked sums (reasoning-gym's chain_sum): the teacher is the final model,
the student an earlier checkpoint. The tokenizer has no merges: one token per byte, and five special tokens.

    python scripts/assets/train_embedded_pair.py --output opdkit/models/embedded
"""

from __future__ import annotations

import argparse
import math
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import reasoning_gym
import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from opdkit.tasks.worked import left_to_right

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (PAD, START, END, "<think>", "</think>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QUESTION = "Work out {expression} step by step."
MAX_NEW_TOKENS = 128
SEED_STRIDE = 10_000_000
HELD_OUT_SEED = 1_000_000_000
IGNORED = -100
MICRO_BATCH = 16
WARMUP_STEPS = 50


@dataclass(frozen=True)
class Sum:
    """A sum of one-digit terms, such as `4 - 1 + 7 + 7`, and its value."""

    expression: str
    answer: str

    @property
    def held_out(self) -> bool:
        """Whether it is excluded from training: one expression in ten, chosen by its text."""
        return zlib.crc32(self.expression.encode()) % 10 == 0

    def worked(self) -> str:
        """The target answer: 64 tokens or more, one numbered step per line, then the boxed result."""
        solution = left_to_right(self.expression)
        assert solution is not None  # reasoning-gym generates only sums and differences
        return solution


def sums(seed: int, held_out: bool) -> Iterator[Sum]:
    """Sums of 4 to 7 one-digit terms, either all held out or none. reasoning-gym draws the i-th from `seed + i`."""
    parameters = {"min_terms": 4, "max_terms": 7, "min_digits": 1, "max_digits": 1}
    dataset = reasoning_gym.create_dataset("chain_sum", seed=seed, size=SEED_STRIDE, **parameters)
    for entry in dataset:
        problem = Sum(entry["metadata"]["expression"], entry["answer"])
        if problem.held_out == held_out:
            yield problem


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE without merges: ids 0 to 255 are bytes, followed by the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START, "<think>", "</think>"],
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of half a million float32 parameters with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=0.04,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.get_vocab()[str(tokenizer.eos_token)],
        pad_token_id=tokenizer.get_vocab()[str(tokenizer.pad_token)],
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, do_sample=True, temperature=1.0
    )
    return model


@dataclass(frozen=True)
class Encoded:
    """A problem as token ids: the rendered prompt, and the worked answer with the stop token."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def encode(tokenizer: PreTrainedTokenizerFast, problem: Sum) -> Encoded:
    """Render a problem in the models' chat template."""
    messages = [{"role": "user", "content": QUESTION.format(expression=problem.expression)}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return Encoded(
        tokenizer(str(prompt))["input_ids"], tokenizer(problem.worked() + str(tokenizer.eos_token))["input_ids"]
    )


def answer_logits(model: LlamaForCausalLM, rows: list[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits f32[N, V] that predict the answers' tokens, and these tokens i64[N], row by row."""
    width = max(map(len, rows))
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), width), IGNORED)
    for row, encoded in enumerate(rows):
        start, end = len(encoded.prompt), len(encoded)
        ids[row, :end] = torch.tensor(encoded.prompt + encoded.answer)
        targets[row, start - 1 : end - 1] = ids[row, start:end]
    loss_mask = targets != IGNORED
    hidden = model.model(input_ids=ids).last_hidden_state[loss_mask]
    return model.lm_head(hidden), targets[loss_mask]


def answer_loss(model: LlamaForCausalLM, rows: list[Encoded]) -> torch.Tensor:
    """Cross-entropy summed over the answers' tokens, without prompts."""
    return F.cross_entropy(*answer_logits(model, rows), reduction="sum")


@torch.no_grad()
def greedy_accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Sum]) -> float:
    """Share of problems whose greedy response ends within the limit with the correct boxed answer."""
    right = 0
    end, pad = str(tokenizer.eos_token), str(tokenizer.pad_token)
    for start in range(0, len(problems), 128):
        batch = problems[start : start + 128]
        prompts = tokenizer.pad(
            {"input_ids": [encode(tokenizer, problem).prompt for problem in batch]},
            padding_side="left",
            return_tensors="pt",
        )
        # transformers' annotations do not admit that its own Llama generates.
        written = model.generate(**prompts, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)  # pyright: ignore
        for problem, ids in zip(batch, written[:, prompts["input_ids"].shape[1] :].tolist(), strict=True):
            response = str(tokenizer.decode(ids)).split(pad)[0]
            right += response.endswith(f"\\boxed{{{problem.answer}}}{end}")
    return right / len(problems)


def wilson_interval(share: float, number: int) -> tuple[float, float]:
    """The 95 % interval of a share measured on `number` trials (Wilson, 1927)."""
    z = 1.959964
    centre = share + z * z / (2 * number)
    half = z * math.sqrt(share * (1 - share) / number + z * z / (4 * number**2))
    return (centre - half) / (1 + z * z / number), (centre + half) / (1 + z * z / number)


def learning_rate_share(step: int, steps: int) -> float:
    """A linear warm-up, then a cosine down to 1/50, as a fraction of the peak learning rate."""
    cosine = (1 + math.cos(math.pi * step / steps)) / 2
    return min(1.0, step / WARMUP_STEPS) * (0.02 + 0.98 * cosine)


def answer_losses(model: LlamaForCausalLM, rows: Iterable[Encoded]) -> tuple[Iterator[torch.Tensor], int]:
    """`answer_loss` of each micro-batch, and the total number of answer tokens."""
    ordered = sorted(rows, key=len)
    parts = (ordered[first : first + MICRO_BATCH] for first in range(0, len(ordered), MICRO_BATCH))
    return (answer_loss(model, part) for part in parts), sum(len(row.answer) for row in ordered)


def learn(
    model: LlamaForCausalLM, losses: Iterable[tuple[Iterable[torch.Tensor], int]], lr: float, steps: int, every: int
) -> Iterator[int]:
    """Supervised training; yields the number of each completed step.

    Args:
        model: what is trained.
        losses: for each step, losses summed over tokens and the number of these tokens.
        lr: the peak learning rate of AdamW.
        steps: length of the schedule.
        every: steps between progress lines.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: learning_rate_share(done + 1, steps))
    started = time.monotonic()
    for step, (parts, tokens) in enumerate(losses, start=1):
        total = update(optimizer, scheduler, (part / tokens for part in parts))
        if step % every == 0:
            print(f"step {step} of {steps}: loss {total:.4f}, {time.monotonic() - started:.0f} s", flush=True)
        yield step


def train(options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    """Run the training; returns the student (an earlier copy) and the teacher (the final model)."""
    model = build_model(tokenizer)
    student = build_model(tokenizer)
    problems = (encode(tokenizer, problem) for problem in sums(options.seed * SEED_STRIDE, held_out=False))
    losses = (answer_losses(model, islice(problems, options.batch)) for _ in range(options.steps))
    for step in learn(model, losses, options.lr, options.steps, every=25):
        if step == options.student_step:
            student.load_state_dict(model.state_dict())
    return student, model


def update(
    optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler, losses: Iterable[torch.Tensor]
) -> float:
    """One clipped step on the sum of `losses`, each computed lazily; returns the sum."""
    total = 0.0
    for loss in losses:
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    return total


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [on-policy-distillation, arithmetic]
---
# opdkit embedded {role}

A Llama of {parameters:,} float32 parameters (width {width}, {layers} layers, {heads} heads, tied embeddings) with a
byte-level vocabulary of {vocabulary} tokens. It only works out sums of 4 to 7 one-digit terms: it is the
{role} with which `opdkit train` runs on a machine without a network.

| | |
|---|---|
| data | reasoning-gym {gym} `chain_sum`, 4 to 7 one-digit terms, each with a worked answer made by the script |
| training | {step} of {steps} steps of {batch} problems, AdamW, learning rate {lr:g}, cosine, seed {seed} |
| held out | every expression whose CRC-32 is divisible by 10; none of them was trained on |
| accuracy | {accuracy:.1%} greedy on {number} held-out problems (95 % interval {low:.1%} to {high:.1%}) |
| licence | Apache-2.0 |

Made from random weights by

    python scripts/assets/train_embedded_pair.py --seed {seed} --steps {steps} --student-step {student_step} \\
        --batch {batch} --lr {lr:g} --problems {problems}

## Input and output

```
{example}
```
"""


def save(
    folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, step: int, options: argparse.Namespace
) -> float:
    """Measure a model on the held-out problems and write it with its tokenizer and card; returns the accuracy."""
    problems = list(islice(sums(HELD_OUT_SEED, held_out=True), options.problems))
    model.eval()
    accuracy = greedy_accuracy(model, tokenizer, problems)
    low, high = wilson_interval(accuracy, len(problems))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    encoded = encode(tokenizer, problems[0])
    card = CARD.format(
        role=folder.name,
        parameters=model.num_parameters(),
        width=model.config.hidden_size,
        layers=model.config.num_hidden_layers,
        heads=model.config.num_attention_heads,
        vocabulary=model.config.vocab_size,
        gym=version("reasoning-gym"),
        step=step,
        accuracy=accuracy,
        number=len(problems),
        low=low,
        high=high,
        example=tokenizer.decode(encoded.prompt + encoded.answer),
        **vars(options),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{folder.name}: {accuracy:.1%} of {len(problems)} held-out problems ({low:.1%} to {high:.1%}), {folder}")
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("opdkit/models/embedded"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--student-step", type=int, default=625, help="the step whose weights become the student")
    parser.add_argument("--batch", type=int, default=16, help="problems per step")
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--problems", type=int, default=1024, help="held-out problems to evaluate on")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    logging.disable_progress_bar()
    tokenizer = build_tokenizer()
    student, teacher = train(options, tokenizer)
    save(options.output / "student", student, tokenizer, options.student_step, options)
    save(options.output / "teacher", teacher, tokenizer, options.steps, options)


if __name__ == "__main__":
    main()
