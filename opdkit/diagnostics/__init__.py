"""What a run tells of itself beside its loss."""

from opdkit.diagnostics.gradient import GradientVariance, named_subset
from opdkit.diagnostics.hardware import environment, peak_rss_mib
from opdkit.diagnostics.tokens import TokenMeans, token_metrics

__all__ = ["GradientVariance", "TokenMeans", "environment", "named_subset", "peak_rss_mib", "token_metrics"]
