"""Cost of everything enabled by default besides training itself: two runs with alternating steps.

    python scripts/results/metrics_overhead.py [--steps N] [key=value ...]

One has the defaults, the other no vocabulary metrics, diagnostics, gradient variance or samples. Both start from the
same weights and see the same problems. CPU time (all threads) varies little with other load; wall time varies more.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.console.terminal import PlainReporter
from opdkit.loggers import open_loggers
from opdkit.runs.folder import RunFolder
from opdkit.training.loop import Loop
from opdkit.training.records import Records
from opdkit.training.session import open_session
from opdkit.training.signals import StopRequest

OFF = ("vocabulary_metrics_every=0", "diagnostics_every=0", "gradient_variance=null", "log_samples=0")


def opened(overrides: list[str], stack: ExitStack) -> tuple[Loop, Records]:
    """A run ready for its first step; its folder is deleted with `stack`."""
    typed = ["logger=jsonl", "checkpoint_every=0", *overrides]
    experiment = build_experiment(compose(Source("train"), typed), Origin(typed, {}, []))
    session = open_session(experiment, None)
    folder = RunFolder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    loggers = stack.enter_context(open_loggers(experiment.loggers, folder.path, experiment.resolved, 0))
    records = Records(experiment.recording(), session, folder, PlainReporter(io.StringIO()), loggers)
    return Loop(experiment.looping(), session, folder.checkpoints, records, StopRequest()), records


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps of each run, without the first (20)")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with ExitStack() as stack:
        runs = {
            "on": opened(options.overrides, stack),
            "off": opened([*options.overrides, *OFF], stack),
        }
        cpu: dict[str, list[float]] = {name: [] for name in runs}
        wall: dict[str, list[float]] = {name: [] for name in runs}
        for step in range(options.steps):
            for name in runs if step % 2 else reversed(runs):
                began, cpu_began = time.perf_counter(), time.process_time()
                runs[name][0].one()
                cpu[name].append(time.process_time() - cpu_began)
                wall[name].append(time.perf_counter() - began)
        share = runs["on"][1].overhead.share
    for what, seconds in (("CPU", cpu), ("wall", wall)):
        on, off = (seconds[name][1:] for name in ("on", "off"))
        ratios = [one / two - 1 for one, two in zip(on, off, strict=True)]
        print(
            f"{what} time of {len(on)} steps: {sum(on):.2f} s on, {sum(off):.2f} s off, "
            f"{100 * (sum(on) / sum(off) - 1):+.1f} % (median of steps {100 * statistics.median(ratios):+.1f} %)"
        )
    print(f"as reported by the run: {100 * (share or 0.0):.1f} % of the steps' time")


if __name__ == "__main__":
    main()
