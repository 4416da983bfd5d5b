"""The shipped student that reads a hint: as good without one, and as good behind each prompt, as its card says."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import opdkit
from opdkit.data.template import fill
from opdkit.models import ModelSpec
from opdkit.tasks.worked import left_to_right
from tests.models.test_embedded_pair import held_out_sums

FOLDER = Path(opdkit.__file__).parent / "models" / "embedded" / "hint_student"
TEACHERS = Path(__file__).parents[2] / "conf" / "teacher"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
COUNT = 32


@lru_cache
def loaded():
    return AutoTokenizer.from_pretrained(FOLDER), AutoModelForCausalLM.from_pretrained(FOLDER)


@torch.no_grad()
def written(template: str, hints: list[dict[str, str]]) -> list[str]:
    """Greedy responses to the held-out sums behind a template."""
    tokenizer, model = loaded()
    questions = [f"Work out {expression} step by step." for expression, _ in held_out_sums(COUNT)]
    chats = [
        [{"role": "user", "content": fill(template, {"question": question, **hint})}]
        for question, hint in zip(questions, hints, strict=True)
    ]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    prompts = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    ids = model.generate(**prompts, max_new_tokens=128, do_sample=False)[:, prompts["input_ids"].shape[1] :]
    return [tokenizer.decode(row).split("<|endoftext|>")[0] for row in ids.tolist()]


def share(template: str, hints: list[dict[str, str]], answers: list[str]) -> float:
    ends = [f"\\boxed{{{answer}}}<|im_end|>" for answer in answers]
    return sum(text.endswith(end) for text, end in zip(written(template, hints), ends, strict=True)) / COUNT


def template(name: str) -> str:
    return yaml.safe_load((TEACHERS / f"{name}.yaml").read_text(encoding="utf-8"))["template"]


def card(name: str) -> float:
    told = re.search(rf"\| {name} \| (\d+\.\d)%", CARD)
    assert told is not None
    return float(told[1]) / 100


def test_it_is_named_small_and_has_a_card_and_the_students_tokens() -> None:
    assert ModelSpec("embedded/hint_student").location() == str(FOLDER)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 3_000_000
    assert "license: apache-2.0" in CARD
    student = AutoTokenizer.from_pretrained(FOLDER.parent / "student")
    assert loaded()[0].get_vocab() == student.get_vocab()
    assert loaded()[0].chat_template == student.chat_template


def test_told_nothing_it_is_the_embedded_student() -> None:
    answers = [answer for _, answer in held_out_sums(COUNT)]
    expected = card("plain")
    assert 0.3 <= expected <= 0.6
    spread = 4 * (expected * (1 - expected) / COUNT) ** 0.5
    assert abs(share("{question}", [{}] * COUNT, answers) - expected) <= spread


@pytest.mark.parametrize(("name", "field"), [("told_solution", "solution"), ("told_answer", "answer")])
def test_it_reads_what_it_is_told_and_believes_it(name: str, field: str) -> None:
    assert card(name) >= 0.9
    sums = held_out_sums(COUNT)
    whole = [(left_to_right(expression) or "", answer) for expression, answer in sums]
    right = [{field: answer if field == "answer" else text} for text, answer in whole]
    assert share(template(name), right, [answer for _, answer in sums]) >= 0.8
    # Off by seven: what it ends with is in the hint and nowhere else.
    wrong = [str(int(answer) + 7) for _, answer in sums]
    moved = [
        {field: text.replace(f"= {answer}\n\\", f"= {w}\n\\").replace(f"{{{answer}}}", f"{{{w}}}")}
        if field == "solution"
        else {field: w}
        for (text, answer), w in zip(whole, wrong, strict=True)
    ]
    assert share(template(name), moved, wrong) >= 0.7
