"""Runs each method on the embedded pair, and their ablations; methods_page.py tells what came out.

    nice -n 10 python scripts/results/methods.py compare runs/methods    # goes on where it stopped; --only NAME
    nice -n 10 python scripts/results/methods.py ablate runs/methods     # after it: at the rates that it chose
    python scripts/results/told_prompts.py runs/methods                  # what the student makes of a hint

The rate of a method is the best of a small grid, on a seed, training problems and held-out problems of its own. An
ablation has its method's rate. A run is `opdkit train` without its evaluations of the start and of the teacher.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from short_runs import SEEDS, SHORT, Candidates, make

_GROUPS = ("batch.prompts=4", "batch.rollouts_per_prompt=4")
MEMBERS: Mapping[str, tuple[str, ...]] = {
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
}
"""What is compared: a name, and the overrides that make it."""


@dataclass(frozen=True)
class Ablation:
    """A method with something changed.

    Attributes:
        of: the method, whose learning rate it has.
        says: what is changed, for the page.
        overrides: that change it.
    """

    of: str
    says: str
    overrides: tuple[str, ...]


def _brts(says: str, *selection: str) -> Ablation:
    return Ablation("brts", says, tuple(f"method.terms.teacher.selection.{one}" for one in selection))


def _rlsd(says: str, *objective: str) -> Ablation:
    return Ablation("rlsd", says, tuple(f"method.terms.student.objective.{one}" for one in objective))


ABLATIONS: Mapping[str, Ablation] = {
    "rlsd_lam0": _rlsd("lam = 0", "lam=0", "lam_end=0"),
    "rlsd_lam1": _rlsd("lam = 1 throughout", "lam=1", "lam_end=1"),
    "ropd_scalar": Ablation(
        "ropd", "a scalar judge in the rubric's place", ("reward@method.terms.student.reward=judge",)
    ),
    "brts_1": _brts("N = 1", "count=1"),
    "brts_2": _brts("N = 2", "count=2"),
    "brts_positional": _brts("positional alignment", "alignment=positional"),
    "brts_weak": Ablation("brts", "the student's own start as teacher", ("teacher.path=embedded/student",)),
    "brts_weak_no_hint": Ablation(
        "brts",
        "the same without the hint of tier 2",
        ("teacher.path=embedded/student", "method.terms.teacher.selection.hint=null"),
    ),
}
STEPS = 15
EVERY = 5
"""Steps between the evaluations of a compared run."""
RATES = (5e-5, 2e-4)
COMPARED = Candidates(
    {**MEMBERS, **{name: (*MEMBERS[one.of], *one.overrides) for name, one in ABLATIONS.items()}},
    (*SHORT, f"steps={STEPS}"),
    RATES,
    (f"eval_every={EVERY}",),
)


def compare(root: Path, names: Sequence[str]) -> None:
    """The start, then each method's grid and seeds."""
    make(root, COMPARED.start("topk"), trains=False)
    for name in names:
        for rate in COMPARED.rates:
            make(root, COMPARED.selection(name, rate))
        rate = COMPARED.best(root, name)
        assert rate is not None
        for seed in SEEDS:
            make(root, COMPARED.comparison(name, rate, seed))


def ablate(root: Path, names: Sequence[str]) -> None:
    """The seeds of each ablation at the rate of its method, where that one has been compared."""
    for name in names:
        rate = COMPARED.best(root, ABLATIONS[name].of)
        for seed in SEEDS if rate is not None else ():
            assert rate is not None
            make(root, COMPARED.comparison(name, rate, seed))


def main() -> None:
    """Compare, or ablate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("compare", "ablate"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", nargs="+", choices=(*MEMBERS, *ABLATIONS))
    options = parser.parse_args()
    known = MEMBERS if options.action == "compare" else ABLATIONS
    names = [name for name in known if options.only is None or name in options.only]
    (compare if options.action == "compare" else ablate)(options.root, names)


if __name__ == "__main__":
    main()
