"""Runs the cases of the instability claims, each seed once, for `paper_page.py`.

python scripts/results/instability.py runs/ablation/instability     # an hour on one core; resumes where it stopped
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learning_rates import Job, run
from paper_ablations import ABLATIONS
from paper_numbers import planned

SEEDS = (200, 201, 202, 203, 204)


def jobs() -> list[Job]:
    """One run per seed of each case in an instability claim. A case shared by two ablations is run once."""
    found: list[Job] = []
    known: list[Mapping[str, Any]] = []
    for ablation in ABLATIONS:
        named = {name for claim in ablation.claims if claim.rule == "unstable" for name in (claim.first, claim.second)}
        for case in ablation.cases:
            plan = planned(ablation.experiment, case.overrides)
            if case.name in named and plan not in known:
                known.append(plan)
                folder = f"{ablation.name}/{case.name.replace(' = ', '_').replace(' ', '_')}"
                told = (f"experiment={ablation.experiment}", "hydra.mode=RUN", *case.overrides)
                found += [Job(f"{folder}/seed{seed}", (*told, f"seed={seed}")) for seed in SEEDS]
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run(Path(sys.argv[1]), sorted(jobs(), key=lambda job: job.name[-3:]))
