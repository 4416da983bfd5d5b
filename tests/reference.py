"""Slow and obvious formulas over the whole vocabulary, [N, V]: what the fast code is held against."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.heads import Head


def full_logits(hidden: Tensor, head: Head, temperature: float = 1.0) -> Tensor:
    """Every logit, in float64, [N, vocabulary]."""
    logits = hidden.double() @ head.weight.double().t()
    if head.bias is not None:
        logits = logits + head.bias.double()
    logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits[:, : head.vocabulary] / temperature


def full_reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """sum_v pi log(pi / q) from logits [..., V]."""
    pi, q = student.softmax(-1), teacher.softmax(-1)
    return (pi * (pi / q).log()).sum(-1)
