"""Every file in conf/ composes, binds to its target's signature and builds; nothing is listed by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from opdkit.cli.check import check_one, choices, placeholders
from opdkit.config import location, schema
from opdkit.config.compose import Source, compose
from opdkit.extras import PackageMissingError

CHOICES = list(choices(None))
CONF = location.conf_dir()
FILES = sorted(f for depth in ("*/*.yaml", "*/*/*.yaml") for f in CONF.glob(depth) if not f.stem.startswith("_"))


def some_fast() -> list[Any]:
    """Every choice, the first of each root and group fast: `make check` looks at all of them by `opdkit check`."""
    seen, found = set[tuple[str, str]](), []
    for root, choice in CHOICES:
        kind = (root, choice[-1].partition("=")[0] if choice else "")
        marks = [pytest.mark.slow] if kind in seen else []
        seen.add(kind)
        found.append(pytest.param(root, choice, id=f"{root} {' '.join(choice)}".strip(), marks=marks))
    return found


@pytest.mark.parametrize(("root", "choice"), some_fast())
def test_composes_and_builds(root: str, choice: list[str]) -> None:
    source = Source(root)
    try:
        problem = check_one(source, [*choice, *placeholders(choice, source.folders)])
    except PackageMissingError as missing:
        pytest.skip(str(missing))
    assert problem is None


def test_every_group_file_is_among_the_choices() -> None:
    tried = {text for _, choice in CHOICES for text in choice}
    assert {f"{file.parent.relative_to(CONF).as_posix()}={file.stem}" for file in FILES} <= tried


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_says_what_it_is(file: Path) -> None:
    text = location.description(file)
    assert 10 <= len(text) <= 110, "`opdkit ls` shows the first comment line"
    assert re.fullmatch(r"[a-z0-9_]+", file.stem)


@pytest.mark.parametrize("file", sorted((location.conf_dir() / "benchmark").glob("*.yaml")), ids=lambda f: f.stem)
def test_a_benchmark_is_filed_under_its_own_name(file: Path) -> None:
    choice = [f"benchmark={file.stem}"]
    config = compose(Source("eval"), [*choice, *placeholders(choice, Source("eval").folders)])
    assert re.fullmatch(rf"{file.stem}(_somewhere)?", config.benchmark.name)


EXPERIMENTS = [text for _, choice in CHOICES for text in choice if text.startswith("experiment=")]


WITHOUT_K = ("sampled",)
OTHERS = ("topk", "minillm", "grpo")  # with k, and of other classes


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("objective", [*WITHOUT_K, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_an_experiment_leaves_no_stale_key(experiment: str, objective: str) -> None:
    assert check_one(Source("train"), [experiment, f"objective={objective}"]) is None


def test_a_protocol_changes_how_a_benchmark_is_answered_and_nothing_else() -> None:
    own = compose(Source("eval"), ["benchmark=aime24"])
    paper = compose(Source("eval"), ["benchmark=aime24", "protocol=paper_avg32"])
    assert (own.benchmark.n_samples, own.benchmark.sampler._target_) == (1, "opdkit.samplers.Greedy")
    assert (paper.benchmark.n_samples, paper.benchmark.temperature, paper.benchmark.max_new_tokens) == (32, 1.0, 16384)
    assert (paper.benchmark.sampler._target_, paper.benchmark.sampler.p) == ("opdkit.samplers.TopP", 0.9)
    assert re.search(r"\{question\}.*<think>.*</think>.*\\boxed\{\}", paper.benchmark.source.template, re.DOTALL)
    assert (paper.benchmark.source.path, paper.benchmark.name) == (own.benchmark.source.path, own.benchmark.name)
    typed = compose(Source("eval"), ["protocol=paper", "n_samples=4", "benchmark.max_new_tokens=9"]).benchmark
    assert (typed.n_samples, typed.max_new_tokens) == (4, 9)
    assert compose(Source("train"), ["experiment=paper_math"]).benchmark.max_new_tokens == 16384
    greedy = compose(Source("train"), ["experiment=paper_math", "protocol=greedy"]).benchmark
    assert greedy.sampler._target_ == "opdkit.samplers.Greedy"


def test_schema_and_root_agree() -> None:
    for root, kind in schema.SCHEMAS.items():
        text = (location.conf_dir() / f"{root}.yaml").read_text(encoding="utf-8")
        for name in kind.__dataclass_fields__:
            if name not in schema.SHORTHANDS:
                assert re.search(rf"^(  - )?{name}:", text, flags=re.MULTILINE), f"{name} has no value in {root}.yaml"
