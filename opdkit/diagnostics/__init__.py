"""Diagnostics of a run beyond its loss."""

from opdkit.diagnostics.gradient import GradientVariance, Watched, named_subset
from opdkit.diagnostics.hardware import environment, peak_rss_mib
from opdkit.diagnostics.imbalance import Imbalance
from opdkit.diagnostics.mismatch import Mismatch
from opdkit.diagnostics.observation import Diagnostic, Finding, Observation
from opdkit.diagnostics.probe import ProbeSettings
from opdkit.diagnostics.reliability import Reliability
from opdkit.diagnostics.tokens import TokenMeans, token_metrics

__all__ = [
    "Diagnostic",
    "Finding",
    "GradientVariance",
    "Imbalance",
    "Mismatch",
    "Observation",
    "ProbeSettings",
    "Reliability",
    "TokenMeans",
    "Watched",
    "environment",
    "named_subset",
    "peak_rss_mib",
    "token_metrics",
]
