"""Exact tabular on-policy distillation: bias and variance of g_gamma as functions of the response length."""

from opdkit.study.tabular.study import TabularStudy

__all__ = ["TabularStudy"]
