"""The teacher's training script: its answers, its shared prompt, and its agreement with the experiment."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from opdkit.grading.extraction import extract_answer
from opdkit.models import LanguageModel
from tests.tiny import tiny_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("teacher_script", ROOT / "scripts/assets/train_smollm2_teacher.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def gradients(model: LanguageModel) -> dict[str, torch.Tensor]:
    found = {name: one.grad.clone() for name, one in model.module.named_parameters() if one.grad is not None}
    model.module.zero_grad()
    return found


def test_a_worked_answer(script: ModuleType) -> None:
    assert script.worked("7 - 9 + 4") == "7 - 9 = -2\n-2 + 4 = 2\n\\boxed{2}"


@pytest.mark.parametrize("split", ["train", "test"])
def test_worked_answers_are_what_the_grader_wants(script: ModuleType, split: str) -> None:
    for problem in script.source(split, 0, 40).load():
        expression = script.EXPRESSION.findall(problem.messages[-1].content)[-1]
        assert extract_answer(script.worked(expression)) == problem.reference


def test_the_experiment_asks_what_the_script_trains_on(script: ModuleType) -> None:
    for group in ("task", "benchmark"):
        text = (ROOT / f"conf/{group}/chain_sum_short.yaml").read_text(encoding="utf-8")
        assert script.TEMPLATE.replace("\\", "\\\\") in text
        for name in ("min_terms", "max_terms"):
            assert f"{name}: {script.PARAMETERS[name]}" in text


def test_sharing_the_prompts_changes_neither_loss_nor_gradient(script: ModuleType) -> None:
    model = tiny_model(0, torch.float64)
    examples = [script.example(model, problem) for problem in script.source("train", 0, 3).load()]
    logits, answers = script.forward(model, examples)
    shared = F.cross_entropy(logits, answers)
    shared.backward()
    found = gradients(model)
    losses = []
    for one in examples:
        ids = torch.tensor([one.prompt + one.answer])
        plain = model.module(input_ids=ids).logits[0, len(one.prompt) - 1 : -1]
        losses.append(F.cross_entropy(plain, torch.tensor(one.answer), reduction="sum"))
    expected = torch.stack(losses).sum() / len(answers)
    expected.backward()
    assert torch.allclose(shared, expected)
    for name, value in gradients(model).items():
        # Not to float64's last digit: transformers' norms and rotations go through float32.
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), name


def test_imitation_counts_whole_answers(script: ModuleType) -> None:
    model = tiny_model(0)
    examples = [script.example(model, problem) for problem in script.source("train", 0, 2).load()]
    greedy = []
    for one in examples:
        ids = list(one.prompt)
        for _ in range(3):
            ids.append(int(model.module(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        greedy.append(script.Example(one.prompt, ids[-3:]))
    assert script.imitated(model, greedy) == 1.0
    wrong = script.Example(greedy[0].prompt, [*greedy[0].answer[:2], (greedy[0].answer[2] + 1) % 260])
    assert script.imitated(model, [wrong, greedy[1]]) == 0.5
