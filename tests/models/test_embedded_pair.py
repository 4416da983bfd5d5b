"""The shipped pair loads as any model does, and is as good and as bad as its cards say."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

import pytest
import reasoning_gym
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import opdkit

EMBEDDED = Path(opdkit.__file__).parent / "models" / "embedded"
ROLES = ("student", "teacher")
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")


@lru_cache
def load_tokenizer(role: str):
    return AutoTokenizer.from_pretrained(EMBEDDED / role)


def held_out_sums(number: int) -> list[tuple[str, str]]:
    """Expressions the training script keeps out of training, with their values."""
    data = reasoning_gym.create_dataset(
        "chain_sum", seed=123_456_789, size=10**6, min_terms=4, max_terms=7, min_digits=1, max_digits=1
    )
    found: list[tuple[str, str]] = []
    for entry in data:
        expression = entry["metadata"]["expression"]
        if zlib.crc32(expression.encode()) % 10 == 0:
            found.append((expression, entry["answer"]))
        if len(found) == number:
            break
    return found


def greedy_responses(role: str, expressions: list[str]) -> list[str]:
    tokenizer = load_tokenizer(role)
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED / role)
    chats = [[{"role": "user", "content": f"Work out {expression} step by step."}] for expression in expressions]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    prompts = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**prompts, max_new_tokens=128, do_sample=False)
    rows = written[:, prompts["input_ids"].shape[1] :].tolist()
    return [tokenizer.decode(row).split("<|endoftext|>")[0] for row in rows]


@pytest.mark.parametrize("role", ROLES)
def test_the_model_is_a_plain_float32_llama_with_one_row_a_token(role: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED / role)
    assert model.config.model_type == "llama"
    assert model.dtype == torch.float32
    assert model.get_input_embeddings().weight.shape[0] == len(load_tokenizer(role))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config.eos_token_id == load_tokenizer(role).eos_token_id
    assert model.config.pad_token_id == load_tokenizer(role).pad_token_id


def test_the_two_share_a_vocabulary_that_is_wider_than_the_default_support() -> None:
    student, teacher = (load_tokenizer(role).get_vocab() for role in ROLES)
    assert student == teacher
    assert len(student) > 4 * 32
    assert sorted(student.values()) == list(range(len(student)))


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_comes_back_from_the_tokenizer_one_token_a_byte(text: str) -> None:
    tokenizer = load_tokenizer("student")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    if not any(token in text for token in SPECIAL_TOKENS):
        assert len(ids) == len(text.encode())


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_special_token_is_one_id_that_decoding_can_skip(token: str) -> None:
    tokenizer = load_tokenizer("student")
    ids = tokenizer(f"a{token}b")["input_ids"]
    assert len(ids) == 3
    assert ids[1] >= 256
    assert ids[1] in tokenizer.all_special_ids
    assert tokenizer.decode(ids) == f"a{token}b"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab"


@pytest.mark.parametrize("role", ROLES)
def test_the_chat_template_renders_turns_and_opens_the_assistants(role: str) -> None:
    tokenizer = load_tokenizer(role)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Work out 1 + 2."}]
    closed = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWork out 1 + 2.<|im_end|>\n"
    assert tokenizer.apply_chat_template(chat, tokenize=False) == closed
    opened = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert opened == closed + "<|im_start|>assistant\n"


def test_the_pair_is_small_and_holds_no_pickle() -> None:
    files = [path for role in ROLES for path in (EMBEDDED / role).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    assert {path.suffix for path in files} <= {".json", ".jinja", ".md", ".safetensors"}
    for role in ROLES:
        assert "license: apache-2.0" in (EMBEDDED / role / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("role", "lowest", "highest"), [("student", 0.2, 0.6), ("teacher", 0.9, 1.0)])
def test_greedy_accuracy_on_held_out_problems(role: str, lowest: float, highest: float) -> None:
    problems = held_out_sums(64)
    responses = greedy_responses(role, [expression for expression, _ in problems])
    pairs = zip(problems, responses, strict=True)
    right = sum(response.endswith(f"\\boxed{{{answer}}}<|im_end|>") for (_, answer), response in pairs)
    assert lowest <= right / len(problems) <= highest
