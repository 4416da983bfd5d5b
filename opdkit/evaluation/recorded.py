"""Copies recorded answers of the embedded pair, so that a first run need not generate them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from opdkit.evaluation.asking import Asking
from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.chunked import sample_seed
from opdkit.evaluation.runner import settings_of
from opdkit.files import write_whole
from opdkit.jsonl import read_rows

RECORDED = Path(__file__).parent / "recorded"
MODELS = ("embedded/student", "embedded/teacher")
FILES = ("chain_sum.responses.jsonl", "chain_sum.settings.json")
_LONGEST_PROMPT = 128


def lay_recorded(asking: Asking, benchmark: object) -> bool:
    """Writes the recorded responses to the folder for `evaluate_on`; False if there are none for this evaluation.

    They are greedy, so they hold for every seed. The caller must ensure that the weights are the bundled ones;
    precision, prompts, benchmark and protocol are compared.
    """
    renderer = asking.renderer
    if not isinstance(benchmark, Benchmark) or renderer.name not in MODELS or not _plain(asking):
        return False
    responses, settings = (asking.folder / name for name in FILES)
    if benchmark.name != "chain_sum" or responses.exists():
        return False
    wanted = json.loads(json.dumps(settings_of(benchmark, asking.seed, benchmark.problems())))
    kept = json.loads((RECORDED / renderer.name / settings.name).read_text(encoding="utf-8"))
    if wanted != kept | {"seed": asking.seed}:
        return False
    rows, _ = read_rows(RECORDED / renderer.name / responses.name)
    mine = [row | {"seed": sample_seed(asking.seed, row["problem"], row["sample"])} for row in rows]
    asking.folder.mkdir(parents=True, exist_ok=True)
    write_whole(settings, json.dumps(wanted, indent=2) + "\n")
    write_whole(responses, "".join(json.dumps(row) + "\n" for row in mine))
    return True


def _plain(asking: Asking) -> bool:
    """Whether the model's precision and prompts are those of the recording."""
    model = asking.renderer
    exact = model.module.dtype == torch.float32 and model.autocast is None
    return exact and not any(model.template_kwargs.values()) and asking.max_prompt_tokens >= _LONGEST_PROMPT
