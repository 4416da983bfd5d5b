from __future__ import annotations

import json
from pathlib import Path

import pytest

from opdkit.errors import RunError, UserError
from opdkit.evaluation import Answer, Benchmark, run_benchmark, sample_seed
from tests.evaluation.stubs import Doubles, Model

BENCHMARK = Benchmark(Doubles(), None, n_samples=4, chunk=7, pass_at=[3])


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "doubles.responses.jsonl").read_text().splitlines()]


def test_seeds_depend_on_run_problem_and_sample_alone() -> None:
    seeds = [sample_seed(seed, problem, n) for seed in range(3) for problem in ("a", "b") for n in range(3)]
    assert len(set(seeds)) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert sample_seed(0, "a", 0) == 3222074375973620010


def test_every_response_is_saved_in_order(tmp_path: Path) -> None:
    model = Model()
    run_benchmark(model, BENCHMARK, 0, tmp_path)
    saved = rows(tmp_path)
    assert [(row["problem"], row["sample"]) for row in saved] == [
        (f"doubles/{n}", s) for n in range(10) for s in range(4)
    ]
    assert [row["seed"] for row in saved] == [seed for _, seed in model.asked]
    assert set(saved[0]) == {
        "problem", "sample", "seed", "text", "reference", "extracted", "correct", "status", "tokens", "truncated",
    }  # fmt: skip


def test_summary_counts_what_the_rows_say(tmp_path: Path) -> None:
    summary = run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    assert summary == json.loads((tmp_path / "doubles.json").read_text())
    saved = rows(tmp_path)
    correct = [bool(row["correct"]) for row in saved]
    assert 0.2 < summary["pass@1"] < 0.9
    assert summary["pass@1"] == pytest.approx(sum(correct) / 40)
    assert summary["avg@4"] == pytest.approx(summary["pass@1"])
    assert summary["pass@4"] == pytest.approx(sum(any(correct[i : i + 4]) for i in range(0, 40, 4)) / 10)
    assert summary["pass@1"] <= summary["pass@2"] <= summary["pass@3"] <= summary["pass@4"]
    assert summary["ci95"][0] <= summary["pass@1"] <= summary["ci95"][1]
    assert summary["truncated_fraction"] == pytest.approx(sum(bool(row["truncated"]) for row in saved) / 40)
    assert summary["n_no_answer"] == sum(row["status"] == "no_answer" for row in saved)
    assert summary["n_timeouts"] == sum(row["status"] == "timeout" for row in saved) > 0
    assert (summary["benchmark"], summary["n_problems"], summary["n_samples"], summary["seed"]) == ("doubles", 10, 4, 0)
    assert summary["protocol"] == BENCHMARK.protocol()
    assert summary["responses"] == "doubles.responses.jsonl"
    assert 0.0 <= summary["majority@4"] <= 1.0


def test_chunk_changes_no_result(tmp_path: Path) -> None:
    results = []
    for chunk in (1, 7, 1000):
        folder = tmp_path / str(chunk)
        run_benchmark(Model(), Benchmark(Doubles(), None, n_samples=4, chunk=chunk), 0, folder)
        results.append([(folder / name).read_bytes() for name in ("doubles.json", "doubles.responses.jsonl")])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path: Path, chunks: int) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    expected = run_benchmark(Model(), BENCHMARK, 0, whole)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(Model(dies_after=chunks), BENCHMARK, 0, part)
    assert not (part / "doubles.json").exists()
    with (part / "doubles.responses.jsonl").open("a") as file:
        file.write('{"problem": "doubles/1", "sam')  # the line that was being written
    rest = Model()
    assert run_benchmark(rest, BENCHMARK, 0, part) == expected
    assert len(rest.asked) == 40 - 7 * chunks
    for name in ("doubles.json", "doubles.responses.jsonl"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_evaluation_asks_nothing_again(tmp_path: Path) -> None:
    first = run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    model = Model()
    assert run_benchmark(model, BENCHMARK, 0, tmp_path) == first
    assert model.calls == 0


@pytest.mark.parametrize(
    ("other", "seed", "message"),
    [
        (Benchmark(Doubles(), None, n_samples=2), 0, "n_samples was 4 and is 2"),
        (Benchmark(Doubles(), None, n_samples=4, temperature=0.5), 0, "temperature was 1.0 and is 0.5"),
        (Benchmark(Doubles(), None, n_samples=4, limit=5), 0, "limit was null and is 5"),
        (Benchmark(Doubles(size=9), None, n_samples=4), 0, "problems was"),
        (BENCHMARK, 1, "seed was 0 and is 1"),
    ],
)
def test_responses_of_other_settings_are_refused(tmp_path: Path, other: Benchmark, seed: int, message: str) -> None:
    run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    before = (tmp_path / "doubles.responses.jsonl").read_bytes()
    with pytest.raises(UserError, match=message):
        run_benchmark(Model(), other, seed, tmp_path)
    assert (tmp_path / "doubles.responses.jsonl").read_bytes() == before


def test_damaged_and_foreign_rows_are_refused_with_their_line(tmp_path: Path) -> None:
    run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    path = tmp_path / "doubles.responses.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{broken", *lines[2:]]) + "\n")
    with pytest.raises(UserError, match="line 2 is damaged"):
        run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    path.write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(UserError, match="line 2 is not a response of this run"):
        run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    path.write_text("\n".join([*lines, lines[-1]]) + "\n")
    with pytest.raises(UserError, match="line 41 is not a response of this run"):
        run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    path.write_text("\n".join(lines[:1]) + "\n")
    (tmp_path / "doubles.settings.json").unlink()
    with pytest.raises(UserError, match=r"settings .* cannot be read"):
        run_benchmark(Model(), BENCHMARK, 0, tmp_path)


def test_text_that_is_no_utf8_is_saved(tmp_path: Path) -> None:
    run_benchmark(lambda problems, seeds: [Answer("\ud800\0", 1, False) for _ in problems], BENCHMARK, 0, tmp_path)
    assert rows(tmp_path)[0]["text"] == "\ud800\0"


def test_progress_is_told_in_words(tmp_path: Path) -> None:
    said: list[str] = []
    run_benchmark(Model(), BENCHMARK, 0, tmp_path, said.append)
    assert said[:2] == ["doubles: 0 of 40 responses", "doubles: 7 of 40 responses"]


def test_no_problems_and_wrong_counts_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no problems"):
        run_benchmark(Model(), Benchmark(Doubles(size=0), None), 0, tmp_path)
    with pytest.raises(ValueError, match="7 answers were asked for and 0 came"):
        run_benchmark(lambda problems, seeds: [], BENCHMARK, 0, tmp_path / "other")


def test_a_disk_that_refuses_ends_the_run_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "doubles.json").mkdir()  # os.replace onto a folder fails as a full disk does
    (tmp_path / "doubles.json" / "file").touch()
    with pytest.raises(RunError, match="could not be written"):
        run_benchmark(Model(), BENCHMARK, 0, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "doubles.responses.jsonl",
        "doubles.settings.json",
    ]
