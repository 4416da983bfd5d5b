"""opdkit: on-policy distillation of language models, as experiments."""

__version__ = "0.1.0"
