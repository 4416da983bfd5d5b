"""The shipped teacher of another family: its tokenizer is not the student's, and it is as good as its card says."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import opdkit
from opdkit.models import ModelSpec
from opdkit.tokenization import align, respell, shared_vocabulary, token_bytes
from tests.models.test_embedded_pair import held_out_sums

FOLDER = Path(opdkit.__file__).parent / "models" / "embedded" / "bpe_teacher"
ANSWER = "From left to right:\n1. 12 + 5 = 17\n2. 17 - 20 = -3\n\\boxed{-3}"


def test_it_is_named_small_and_has_a_card() -> None:
    assert ModelSpec("embedded/bpe_teacher").location() == str(FOLDER)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 3_000_000
    assert "license: apache-2.0" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_its_tokens_hold_words_and_numbers_and_its_markup_is_its_own() -> None:
    student, teacher = (AutoTokenizer.from_pretrained(FOLDER.parent / role) for role in ("student", "bpe_teacher"))
    ours, theirs = (
        token_bytes(tokenizer, "x").with_stops([tokenizer.eos_token_id]) for tokenizer in (student, teacher)
    )
    ids = student.encode(ANSWER + "<|im_end|>", add_special_tokens=False)
    written = respell(ids, ours, theirs, teacher)
    assert written is not None
    assert [theirs.of(index) for index in written[:8]] == [
        b"From",
        b" left",
        b" to",
        b" right",
        b":",
        b"\n",
        b"1",
        b".",
    ]
    assert {b" 12", b" 17", b" 20"} <= set(map(theirs.of, written))
    assert written[-1] == teacher.eos_token_id
    found = align(ours.symbols(ids), theirs.symbols(written))
    assert found.complete
    assert len(found.strict) < len(ids) / 2
    shared = shared_vocabulary(ours, theirs, (len(student), len(teacher)))
    assert len(shared) == 257  # every byte, and the stop
    assert len(teacher.encode("<think>")) > 1


@torch.no_grad()
def test_it_solves_held_out_sums() -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(FOLDER), AutoModelForCausalLM.from_pretrained(FOLDER)
    problems = held_out_sums(48)
    chats = [[{"role": "user", "content": f"Work out {expression} step by step."}] for expression, _ in problems]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    prompts = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    written = model.generate(**prompts, max_new_tokens=96, do_sample=False)[:, prompts["input_ids"].shape[1] :]
    answers = [tokenizer.decode(row).split("<pad>")[0] for row in written.tolist()]
    right = [f"\\boxed{{{value}}}<|end|>" in answer for (_, value), answer in zip(problems, answers, strict=True)]
    told = re.search(r"accuracy \| (\d+\.\d)%", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert told is not None
    # Of 48 sums, four standard deviations below what the card says.
    share = float(told[1]) / 100
    assert sum(right) / len(right) >= share - 4 * (share * (1 - share) / len(right)) ** 0.5
