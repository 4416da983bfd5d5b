"""Exact tabular on-policy distillation: bias and variance of g_gamma against the length of the response."""

from opdkit.study.tabular.study import TabularStudy

__all__ = ["TabularStudy"]
