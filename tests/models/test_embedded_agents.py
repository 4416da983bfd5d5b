"""The shipped pair of text games: what it is, and that it plays as its cards say."""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import opdkit
from opdkit.cli.main import main

EMBEDDED = Path(opdkit.__file__).parent / "models" / "embedded"
ROLES = ("agent_student", "agent_teacher")
CHATS = Path(__file__).parents[1] / "fixtures" / "held_out_chats.json"
plays = pytest.mark.skipif(
    importlib.util.find_spec("textworld_express") is None or shutil.which("java") is None,
    reason="TextWorld-Express or Java is not installed",
)


@lru_cache
def tokenizer(role: str):
    return AutoTokenizer.from_pretrained(EMBEDDED / role)


@pytest.mark.parametrize("role", ROLES)
def test_the_pair_speaks_as_the_pair_of_sums_does(role: str) -> None:
    sums = AutoTokenizer.from_pretrained(EMBEDDED / "student")
    assert tokenizer(role).get_vocab() == sums.get_vocab()
    assert tokenizer(role).chat_template == sums.chat_template
    config = AutoModelForCausalLM.from_pretrained(EMBEDDED / role).config
    assert (config.model_type, config.max_position_embeddings) == ("llama", 1024)


def test_all_that_is_shipped_is_small_and_holds_no_pickle() -> None:
    files = [path for path in EMBEDDED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16_000_000
    assert {path.suffix for path in files} <= {".json", ".jinja", ".md", ".safetensors"}
    for role in ROLES:
        assert "license: apache-2.0" in (EMBEDDED / role / "README.md").read_text(encoding="utf-8")


@torch.no_grad()
def share_of_answers(role: str) -> float:
    """The share of answers in won chats of the test fold of which every token is the model's likeliest."""
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED / role)
    right: list[bool] = []
    for chat in json.loads(CHATS.read_text(encoding="utf-8")):
        text = ""
        for said, action in chat:
            text += f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
            answer = tokenizer(role)(action + "<|im_end|>")["input_ids"]
            ids = tokenizer(role)(text)["input_ids"]
            logits = model(torch.tensor([ids + answer])).logits[0]
            right.append(logits[len(ids) - 1 : -1].argmax(-1).tolist() == answer)
            text += f"{action}<|im_end|>\n"
    return sum(right) / len(right)


def test_the_teacher_knows_the_answers_of_games_it_never_saw_and_the_student_some() -> None:
    teacher, student = share_of_answers("agent_teacher"), share_of_answers("agent_student")
    assert teacher >= 0.95
    assert student <= teacher - 0.05


@plays
@pytest.mark.parametrize(("role", "lowest", "highest"), [("agent_student", 0.05, 0.75), ("agent_teacher", 0.85, 1.0)])
def test_success_in_the_games_themselves(role: str, lowest: float, highest: float, tmp_path: Path) -> None:
    arguments = [f"model.path=embedded/{role}", "benchmark=textworld_express", "benchmark.limit=20"]
    assert main(["eval", *arguments, "benchmark.baselines=[]", "benchmark.places=2", f"run_dir={tmp_path}"]) == 0
    result = json.loads((tmp_path / "evals" / "textworld_express.json").read_text(encoding="utf-8"))
    assert result["n_problems"] == 20
    assert lowest <= result["pass@1"] <= highest


@plays
@pytest.mark.parametrize("task", ["textworld_express", "sums_and_games"])
def test_a_run_goes_through_the_games(task: str, tmp_path: Path) -> None:
    small = ["steps=2", "batch.prompts=2", "batch.mini_batch=2", "batch.micro_batch=2", "batch.epochs=1"]
    few = {
        "textworld_express": ["benchmark.limit=2", "benchmark.places=2"],
        "sums_and_games": ["benchmark.limit=2", "task.parts.games.benchmark.limit=2"],
    }
    assert main(["train", f"task={task}", *small, *few[task], "logger=jsonl", f"run_dir={tmp_path / 'run'}"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert any("time/environment_s" in line for line in lines)
