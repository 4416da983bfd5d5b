"""Runs each method and its ablations on the embedded models; methods_page.py writes the results.

    nice -n 10 python scripts/results/methods.py compare runs/methods    # resumes where it stopped; --only NAME
    nice -n 10 python scripts/results/methods.py ablate runs/methods     # afterwards: at the chosen rates
    python scripts/results/told_prompts.py runs/methods                  # how well the students use a hint

The rate of a method is the best of a small grid, on a separate seed, training problems and held-out problems. An
ablation has its method's rate. A run is `opdkit train` without evaluating the initial student and the teacher.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from learning_rates import Job
from short_runs import SEEDS, SHORT, Candidates, make

STEPS = 15
EVERY = 5
"""Steps between evaluations of a compared run in a timed family."""
_GROUPS = ("batch.prompts=4", "batch.rollouts_per_prompt=4")
_READING = (
    "method=ropd", "text=agreement_script", "method.terms.student.reward.teacher=null",
    "teacher=embedded_agent", "sampler=ancestral", *_GROUPS,
)  # fmt: skip
_SEVEN = tuple(f"{of}.parameters.{end}_terms=7" for of in ("task", "benchmark.source") for end in ("min", "max"))


@dataclass(frozen=True)
class Family:
    """Methods that are compared with one another.

    Attributes:
        members: a name, and the overrides that make it.
        rates: the grid of learning rates.
        references: the members that all others are compared with.
        timed: whether to compare at equal wall time too, for which a compared run is evaluated during training.
    """

    members: Mapping[str, tuple[str, ...]]
    rates: tuple[float, ...]
    references: tuple[str, ...] = ()
    timed: bool = False


def _hinted(name: str, *overrides: str) -> tuple[str, tuple[str, ...]]:
    return f"hint_{name}", ("model=embedded_hint", *overrides)


def _across(name: str, mode: str, objective: str) -> tuple[str, tuple[str, ...]]:
    return name, ("method=opd", f"objective={objective}", "teacher=retokenized", f"teacher.mode={mode}")


FAMILIES: Mapping[str, Family] = {
    "methods": Family(
        {
            "grpo": ("method=grpo", *_GROUPS),
            "sampled": ("method=opd", "objective=sampled"),
            "topk": ("method=opd", "objective=topk"),
            "rlsd": ("method=rlsd", *_GROUPS),
            "ropd": ("method=ropd", "text=sums_script", *_GROUPS),
            "brts": ("method=brts",),
            "opsd": ("method=opsd",),
            "sdft": ("method=sdft",),
            "sdpo": ("method=sdpo", *_GROUPS),
            "context": ("method=context",),
        },
        (5e-5, 2e-4),
        ("grpo", "sampled", "topk"),
        timed=True,
    ),
    "hint": Family(
        dict(
            [
                _hinted("grpo", "method=grpo", *_GROUPS),
                _hinted("sampled", "method=opd", "objective=sampled"),
                _hinted("topk", "method=opd", "objective=topk"),
                _hinted("rlsd", "method=rlsd", *_GROUPS),
                _hinted("opsd", "method=opsd"),
                _hinted("sdft", "method=sdft"),
                _hinted("sdpo", "method=sdpo", *_GROUPS),
                _hinted("context", "method=context"),
            ]
        ),
        (1.25e-5, 5e-5, 2e-4),
        ("hint_grpo", "hint_sampled", "hint_topk"),
        timed=True,
    ),
    "rubrics": Family(
        {
            "ropd_reading": _READING,
        },
        (1.25e-5, 5e-5, 2e-4),
    ),
    "rubrics_long": Family(
        {"ropd_long": (*_READING, *_SEVEN)},
        (1.25e-5, 5e-5, 2e-4),
    ),
    "best_of": Family(
        {"brts_weaker": ("method=brts", "teacher=embedded_agent", "method.terms.teacher.selection.temperature=1",
                         "method.terms.teacher.selection.top_p=1")},
        (1.25e-5, 5e-5, 2e-4),
    ),
    "tokenizers": Family(
        dict(
            [
                _across("byte_filter", "byte_filter", "topk"),
                _across("byte_prefix", "byte_prefix", "topk"),
                _across("strict", "strict", "topk"),
                _across("span", "span", "sampled"),
                _across("gold", "merged", "gold"),
                _across("uld", "position", "uld"),
            ]
        ),
        (5e-5, 2e-4),
        ("byte_filter",),
    ),
}  # fmt: skip
"""The families, by the name of their part of the page."""


@dataclass(frozen=True)
class Ablation:
    """A method with one change.

    Attributes:
        of: the method, whose learning rate is used.
        says: description of the change, for the page.
        overrides: the overrides that make the change.
    """

    of: str
    says: str
    overrides: tuple[str, ...]


def _brts(says: str, *selection: str, of: str = "brts") -> Ablation:
    return Ablation(of, says, tuple(f"method.terms.teacher.selection.{one}" for one in selection))


def _rlsd(says: str, *objective: str) -> Ablation:
    return Ablation("rlsd", says, tuple(f"method.terms.student.objective.{one}" for one in objective))


def _ropd(says: str, *reward: str, of: str = "ropd_reading") -> Ablation:
    return Ablation(of, says, tuple(f"method.terms.student.reward.{one}" for one in reward))


ABLATIONS: Mapping[str, Ablation] = {
    "rlsd_lam0": _rlsd("lam = 0", "lam=0", "lam_end=0"),
    "rlsd_lam1": _rlsd("lam = 1 throughout", "lam=1", "lam_end=1"),
    "ropd_scalar": Ablation(
        "ropd", "a scalar judge instead of the rubric", ("reward@method.terms.student.reward=judge",)
    ),
    "brts_1": _brts("N = 1", "count=1"),
    "brts_2": _brts("N = 2", "count=2"),
    "brts_positional": _brts("positional alignment", "alignment=positional"),
    "brts_weak": Ablation("brts", "the initial student as teacher", ("teacher.path=embedded/student",)),
    "brts_weak_no_hint": Ablation(
        "brts",
        "the same without the hint of tier 2",
        ("teacher.path=embedded/student", "method.terms.teacher.selection.hint=null"),
    ),
    "ropd_reading_m1": _ropd("m = 1", "teacher_answers=1"),
    "ropd_reading_own": _ropd("a rubric for each response", "shared=false"),
    "ropd_long_own": _ropd("a rubric for each response", "shared=false", of="ropd_long"),
    "brts_weaker_1": _brts("N = 1", "count=1", of="brts_weaker"),
    "brts_weaker_2": _brts("N = 2", "count=2", of="brts_weaker"),
}
MEMBERS = {name: overrides for family in FAMILIES.values() for name, overrides in family.members.items()}


def candidates(name: str) -> Candidates:
    """The runs of a method or an ablation, with the rates of its family."""
    of = ABLATIONS[name].of if name in ABLATIONS else name
    family = next(one for one in FAMILIES.values() if of in one.members)
    changed = {key: (*MEMBERS[one.of], *one.overrides) for key, one in ABLATIONS.items()}
    watched = (f"eval_every={EVERY}",) if family.timed else ()
    return Candidates({**MEMBERS, **changed}, (*SHORT, f"steps={STEPS}"), family.rates, watched)


def starts() -> Mapping[str, Job]:
    """The embedded student before training, on the problems of most families and on those with seven terms."""
    topk, long = (candidates(name).start(name) for name in ("topk", "ropd_long"))
    return {"start": topk, "start_long": replace(long, name="start_long")}


def compare(root: Path, names: Sequence[str], seeds: Sequence[int]) -> None:
    """The initial students, then every grid, then all members seed by seed."""
    for job in starts().values():
        make(root, job, trains=False)
    made = {name: candidates(name) for name in names}
    for name, own in made.items():
        for rate in own.rates:
            make(root, own.selection(name, rate))
    for seed, (name, own) in itertools.product(seeds, made.items()):
        rate = own.best(root, name)
        assert rate is not None
        make(root, own.comparison(name, rate, seed))


def ablate(root: Path, names: Sequence[str], seeds: Sequence[int]) -> None:
    """The seeds of each ablation at the rate of its method, if that has been compared."""
    for name in names:
        made = candidates(name)
        rate = made.best(root, ABLATIONS[name].of)
        for seed in seeds if rate is not None else ():
            assert rate is not None
            make(root, made.comparison(name, rate, seed))


def main() -> None:
    """Compare, or ablate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("compare", "ablate"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", nargs="+", choices=(*FAMILIES, *MEMBERS, *ABLATIONS))
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="number of seeds, starting with the first")
    options = parser.parse_args()
    known = list(MEMBERS if options.action == "compare" else ABLATIONS)
    wanted = options.only or known
    wanted = [*wanted, *(name for one in wanted if one in FAMILIES for name in FAMILIES[one].members)]
    run = compare if options.action == "compare" else ablate
    run(options.root, [name for name in known if name in wanted], SEEDS[: options.seeds])


if __name__ == "__main__":
    main()
