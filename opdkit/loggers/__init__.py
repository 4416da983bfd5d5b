"""Where metrics and samples go. A config group's object describes a logger; `open_loggers` opens and closes it."""

from opdkit.loggers.base import LoggerSpec, MetricLogger, open_loggers
from opdkit.loggers.jsonl import Jsonl
from opdkit.loggers.wandb import WandB

__all__ = ["Jsonl", "LoggerSpec", "MetricLogger", "WandB", "open_loggers"]
