"""Write docs/results/paper.md from finished and unfinished sweeps of the paper's ablations.

    python scripts/results/paper_page.py runs/ablation

The arguments are folders with runs. A run is matched to a configuration by its config.yaml, wherever it is, so a
configuration shared by several ablations is run once. Missing runs are listed.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paper_figures
import yaml
from paper_ablations import ABLATIONS, LEAST_SEEDS, RULES, Ablation
from paper_numbers import Found, Told, Verdict, differences, find, judge, points, reward_at

from opdkit.intervals import Estimate, bootstrap, paired_t
from opdkit.reports.configurations import flatten
from opdkit.reports.prose import p_text
from opdkit.reports.results import finite_mean
from opdkit.reports.runs import read_all
from opdkit.reports.text import NOTHING

_ROOT = Path(__file__).resolve().parents[2]
PAGE = _ROOT / "docs" / "results" / "paper.md"
NOTES = Path(__file__).with_name("paper_notes.yaml")
SEEDS = 5
OPENING = """# The paper's ablations, at small scale

Written by `python scripts/results/paper_page.py runs/ablation` from the runs of the commands below. Each run uses the
embedded pair (half a million parameters, sums of 4 to 7 one-digit terms): 30 steps of 64 rollouts, two passes of four
updates each, AdamW at 4e-4, rollouts with top-p 0.9 unless stated otherwise, then greedy answers to 256 held-out
problems. The untrained student has {before}, the teacher {teacher}. The paper's numbers are for 7B students on
competition mathematics, without seeds or intervals: compare directions, not sizes.

**How to read it.** *pass@1*: mean over seeds, 95 % bootstrap interval over seeds and problems. *difference*: from the
configuration named, paired by seed, in points, Student's 95 % interval; *p* after Holm's correction over the table's
differences. *gradient variance*: over micro-batches, `train/grad_variance`, geometric mean over steps and seeds; it
scales with the loss, so don't compare objectives with losses of different scale by it alone. *overlap*: of the two
models' top ids, and *mass*: the student's on the support, both at the last step. *cut*: evaluated responses that
reached the length limit. *s per step*: median, without evaluations, one thread of a machine that was also doing other
work. The learning rate was chosen with top-K ([how](embedded.md)); a separate page has
[each objective at its own](learning_rates.md).

**Verdicts** follow rules fixed before anyone looked at the results (`scripts/results/paper_ablations.py`,
which also states what was known by then). *Not run*: fewer than {least} shared seeds.

{rules}
"""


def main(arguments: Sequence[str]) -> None:
    """Rewrites the page and its figures."""
    if not arguments:
        sys.exit(__doc__)
    runs, remarks = read_all(arguments)
    for remark in remarks:
        print(remark, file=sys.stderr)
    flat = {run.name: flatten(run.config) for run in runs}
    notes: dict[str, str] = yaml.safe_load(NOTES.read_text(encoding="utf-8")) if NOTES.is_file() else {}
    figures = PAGE.with_suffix("")
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    rows: list[str] = []
    sections: list[str] = []
    everything: list[Found] = []
    for ablation in ABLATIONS:
        cases = find(ablation, runs, flat)
        everything += cases
        comparisons = differences(ablation, {one.case.name: one for one in cases})
        verdicts = [judge(claim, {one.case.name: one for one in cases}, comparisons) for claim in ablation.claims]
        rows += [_row(ablation, verdict) for verdict in verdicts]
        sections.append(_section(ablation, cases, comparisons, verdicts, notes.get(ablation.name, ""), figures))
    PAGE.write_text("\n".join([_opening(everything), _overview(rows), *sections, _made(everything)]), encoding="utf-8")
    print(f"{PAGE.relative_to(_ROOT)}: {len(runs)} runs read, {sum(run.finished for run in runs)} finished")


def _opening(cases: Sequence[Found]) -> str:
    results = [one.result for one in cases if one.result is not None]
    return OPENING.format(
        before=_percent(finite_mean([one.before for one in results])),
        teacher=_percent(finite_mean([one.teacher for one in results])),
        least=LEAST_SEEDS,
        rules="\n".join(f"- {rule}" for rule in RULES.values()),
    )


def _overview(rows: Sequence[str]) -> str:
    head = "| ablation | the paper says | verdict | measured |\n|---|---|---|---|"
    return "\n".join(["## Verdicts\n", head, *rows, ""])


def _row(ablation: Ablation, verdict: Verdict) -> str:
    link = f"[{ablation.title}](#{_anchor(ablation.title)})"
    return f"| {link} | {verdict.claim.text} | **{verdict.verdict}** | {verdict.measured} |"


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def _section(
    ablation: Ablation, cases: Sequence[Found], comparisons: Sequence[Told], verdicts: Sequence[Verdict], note: str,
    figures: Path,
) -> str:  # fmt: skip
    parts = [f"## {ablation.title}\n", _commands(ablation), ""]
    done = [one for one in cases if one.result is not None]
    if len(done) > 1:
        parts += [_table(done, comparisons), ""]
        picture = figures / f"{ablation.name}.png"
        paper_figures.draw(cases, picture)
        alt = f"{ablation.title}: accuracy, reward and gradient variance"
        parts += [f"![{alt}]({figures.name}/{picture.name})\n", "Bands are the range over seeds.\n"]
    if lacking := _lacking(cases):
        parts += [lacking, ""]
    if ablation.wall_time and len(done) > 1:
        parts += [_wall_time(done, ablation), ""]
    for one in verdicts:
        measured = f" ({one.measured})" if one.measured else ""
        parts.append(f"- The paper: {one.claim.text}. **{one.verdict.capitalize()}**{measured}.")
    return "\n".join([*parts, "", *([note.strip(), ""] if note else [])])


def _commands(ablation: Ablation) -> str:
    sweep = f"opdkit sweep experiment={ablation.experiment} logger=jsonl run_dir=runs/ablation/{ablation.name}"
    return "\n".join(f"    {line}" for line in (ablation.before, sweep) if line)


def _table(done: Sequence[Found], comparisons: Sequence[Told]) -> str:
    lines = [
        "| configuration | seeds | pass@1, % | difference, points | p | gradient variance | overlap | mass | cut "
        "| s per step |",
        "|---|--:|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for one in done:
        result = one.result
        assert result is not None
        own = [t for t in comparisons if t.first == one.case.name]
        compared = "<br>".join(_difference(t, plain=len({x.second for x in comparisons}) == 1) for t in own)
        variance = list(one.each("train/grad_variance").values())
        cells = (
            one.case.name,
            str(len(one.seeds)),
            _interval(result.accuracy, 100.0),
            compared,
            "<br>".join(p_text(t.adjusted) for t in own),
            _short(math.exp(finite_mean([math.log(value) for value in variance]))) if variance else NOTHING,
            _short(one.last("opd/overlap")),
            _short(one.last("opd/student_mass")),
            _percent(result.truncated),
            f"{one.step_seconds:.1f}" if math.isfinite(one.step_seconds) else NOTHING,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(comparisons: Told, plain: bool) -> str:
    value = comparisons.paired.estimate
    spread = f" ({points(value.low)} to {points(value.high)})" if math.isfinite(value.low) else " (no interval)"
    return f"{points(value.mean)}{spread}" + ("" if plain else f" to {comparisons.second}")


def _interval(value: Estimate, factor: float) -> str:
    return f"{factor * value.mean:.1f} ({factor * value.low:.1f} to {factor * value.high:.1f})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if math.isfinite(value) else NOTHING


def _short(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else NOTHING


def _lacking(cases: Sequence[Found]) -> str:
    """Names what has fewer than five seeds."""
    few = [f"{one.case.name} ({len(one.seeds)} of {SEEDS} seeds)" for one in cases if len(one.seeds) < SEEDS]
    return f"Incomplete: {', '.join(few)}." if few else ""


def _wall_time(done: Sequence[Found], ablation: Ablation) -> str:
    """At the time that the fastest method takes for all its steps, by each method's median step."""
    timed = [one for one in done if math.isfinite(one.step_seconds)]
    budget = min(one.step_seconds * max(run.step for run in one.runs if run.finished) for one in timed)
    at: Mapping[str, tuple[int, dict[str, float]]] = {one.case.name: reward_at(one, budget) for one in timed}
    lines = [
        f"At equal wall time: {budget:.0f} s, what the fastest method's 30 steps take at its median step. No "
        "evaluation falls there, so the table has the mean reward of the training rollouts (top-p 0.9, temperature 1) "
        "of the last five steps that fit, which is lower than greedy pass@1.\n",
        "| method | steps that fit | reward, % | difference, points |",
        "|---|--:|---|---|",
    ]
    for name, (steps, rewards) in at.items():
        compared = [_reward_difference(rewards, at, second) for first, second in ablation.pairs if first == name]
        spread = bootstrap(np.array(list(rewards.values())))
        lines.append(f"| {name} | {steps} | {_interval(spread, 100.0)} | {'<br>'.join(filter(None, compared))} |")
    return "\n".join(lines)


def _reward_difference(
    rewards: Mapping[str, float], at: Mapping[str, tuple[int, dict[str, float]]], second: str
) -> str:
    if second not in at:
        return ""
    shared = [seed for seed in rewards if seed in at[second][1]]
    if not shared:
        return ""
    paired = paired_t(np.array([100 * (rewards[seed] - at[second][1][seed]) for seed in shared]))
    return _difference(Told("", second, paired, math.nan), plain=False)


def _made(cases: Sequence[Found]) -> str:
    """The environment of the runs."""
    runs = {run.name: run for one in cases for run in one.runs if run.finished}
    commits = sorted({str(run.environment.get("commit", ""))[:10] for run in runs.values()} - {""})
    packages = [run.environment.get("packages", {}) for run in runs.values()]
    torch = sorted({str(one.get("torch")) for one in packages if one.get("torch")})
    return (
        f"## Environment\n\n{len(runs)} finished runs; code of {', '.join(f'commit {one}' for one in commits)}; "
        f"torch {', '.join(torch)}; one thread per run, two cores. The shared configurations (top-K with K = 32; "
        "sampled-token with discount 0) were run once and appear in every table that has them; some sweeps were run in "
        "parts, one value or seed at a time.\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
