"""Defines what is recorded of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opdkit.diagnostics import Diagnostic, ProbeSettings
from opdkit.runs.card import CardFacts


@dataclass(frozen=True)
class RecordSettings:
    """What is recorded of a run.

    Attributes:
        steps: of the whole run.
        seed: of the evaluations.
        log_samples: rollouts a step that samples.jsonl keeps.
        diagnostics: of the failure modes, by name.
        diagnostics_every: steps between them, 0 for never.
        probe: settings of the gradient's probe.
        probe_every: steps between probes, 0 for never.
        card: what the model card says.
    """

    steps: int
    seed: int
    log_samples: int
    diagnostics: Mapping[str, Diagnostic]
    diagnostics_every: int
    probe: ProbeSettings
    probe_every: int
    card: CardFacts
