"""lm_head arithmetic that never builds a tensor of positions x vocabulary. torch.compile steps around it."""

from opdkit.heads.head import Head
from opdkit.heads.rows import support_logits
from opdkit.heads.stream import logsumexp, sampled_log_prob, support_with_logsumexp
from opdkit.heads.survey import Survey, survey
from opdkit.heads.vocabulary import vocabulary_divergence

__all__ = [
    "Head",
    "Survey",
    "logsumexp",
    "sampled_log_prob",
    "support_logits",
    "support_with_logsumexp",
    "survey",
    "vocabulary_divergence",
]
