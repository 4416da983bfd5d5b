"""Loggers of metrics, samples and tables. A config group describes a logger; `open_loggers` opens and closes it."""

from opdkit.loggers.base import LoggerSpec, MetricLogger, no_loggers, open_loggers
from opdkit.loggers.jsonl import Jsonl
from opdkit.loggers.mlflow import MLflow
from opdkit.loggers.tensorboard import TensorBoard
from opdkit.loggers.trackio import Trackio
from opdkit.loggers.wandb import WandB

__all__ = [
    "Jsonl",
    "LoggerSpec",
    "MLflow",
    "MetricLogger",
    "TensorBoard",
    "Trackio",
    "WandB",
    "no_loggers",
    "open_loggers",
]
