"""The settings of recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opdkit.diagnostics import Diagnostic, ProbeSettings
from opdkit.runs.card import CardFacts


@dataclass(frozen=True)
class RecordSettings:
    """What to record during a run.

    Attributes:
        steps: the number of steps in the run.
        seed: the seed of the evaluations.
        log_samples: rollouts per step in samples.jsonl.
        diagnostics: diagnostics of failure modes, by name.
        diagnostics_every: steps between diagnostics, 0 for never.
        probe: settings of the gradient probe.
        probe_every: steps between probes, 0 for never.
        card: the contents of the model card.
    """

    steps: int
    seed: int
    log_samples: int
    diagnostics: Mapping[str, Diagnostic]
    diagnostics_every: int
    probe: ProbeSettings
    probe_every: int
    card: CardFacts
