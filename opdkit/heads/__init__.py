"""lm_head arithmetic that never builds a tensor of positions x vocabulary. torch.compile steps around it."""

from opdkit.heads.dense import dense_log_prob
from opdkit.heads.head import Head
from opdkit.heads.rows import support_logits
from opdkit.heads.stream import logsumexp, sampled_log_prob, support_with_logsumexp
from opdkit.heads.vocabulary import vocabulary_divergence
from opdkit.heads.vocabulary_stats import VocabularyStats, vocabulary_stats

__all__ = [
    "Head",
    "VocabularyStats",
    "dense_log_prob",
    "logsumexp",
    "sampled_log_prob",
    "support_logits",
    "support_with_logsumexp",
    "vocabulary_divergence",
    "vocabulary_stats",
]
