"""Tiny models with random weights, for tests that need a real architecture but no knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Rollout
from opdkit.generation import Ask, HFRollout, Sampling, Turn, pack
from opdkit.models import LanguageModel
from opdkit.samplers import Sampler

SPECIALS = ["<pad>", "<eos>", "<user>", "<assistant>"]
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<assistant>{{ m['content'] }}<eos>"
    "{% else %}<user>{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tiny_tokenizer(merges: Sequence[tuple[str, str]] = ()) -> Any:
    """Bytes and four special tokens: 260 ids; `merges` give the pairs an id of their own, from 260 on."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *SPECIALS, *map("".join, merges)]
    core = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=list(merges)))
    core.add_special_tokens(SPECIALS)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_model(seed: int, dtype: torch.dtype = torch.float32, tokenizer: Any = None, **changes: Any) -> LanguageModel:
    """A random Llama of width 16; `changes` go into its config."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": 264,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
        "initializer_range": 0.5,
        "pad_token_id": 256,
        "eos_token_id": 257,
    }
    module = LlamaForCausalLM(LlamaConfig(**(settings | changes))).to(dtype).eval()
    tokenizer = tokenizer or tiny_tokenizer()
    return LanguageModel(module, tokenizer, f"tiny-{seed}", len(tokenizer))


def tiny_problems(count: int) -> list[Problem]:
    """Problems whose prompts have different lengths."""
    return [Problem(f"p{i}", (Message("user", "what is " + "x" * (3 * i) + f"{i}?"),), str(i)) for i in range(count)]


def rendered(model: LanguageModel, problems: list[Problem]) -> list[tuple[Problem, list[int]]]:
    """Each problem with its prompt ids."""
    return [(problem, model.render(problem.messages)) for problem in problems]


def save_pair(folder: Path) -> list[str]:
    """Two tiny models with random weights in `folder`, and the overrides that choose them."""
    for name, seed in (("student", 0), ("teacher", 1)):
        model = tiny_model(seed)
        model.module.save_pretrained(folder / name)
        model.tokenizer.save_pretrained(folder / name)
    # Elsewhere than on a CPU a teacher is held in 16 bits, in which the micro-batch shows.
    exact = ["teacher.dtype=float32"] if torch.cuda.is_available() else []
    return [
        "model=local", f"model.path={folder / 'student'}", "teacher=local", f"teacher.path={folder / 'teacher'}",
        *exact,
    ]  # fmt: skip


def written(
    settings: HFRollout,
    model: LanguageModel,
    problems: Sequence[tuple[Problem, Sequence[int]]],
    sampler: Sampler,
    temperature: float,
    seeds: Sequence[int],
) -> Rollout:
    """One answer to each prompt, packed."""
    asks = [Ask(tuple(ids), seed, settings.max_new_tokens) for (_, ids), seed in zip(problems, seeds, strict=True)]
    completions = settings.open(model).generate(asks, Sampling(temperature, sampler))
    rows = [(Turn(ask.prompt_ids, one),) for ask, one in zip(asks, completions, strict=True)]
    return pack(model, rows, [problem for problem, _ in problems])
