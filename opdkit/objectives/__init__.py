"""Training objectives (token-level divergences and reward-based losses) and the aggregation of token losses."""

from opdkit.objectives.aggregation import SequenceMean, SequenceSum, TokenMean
from opdkit.objectives.entropy_aware import EntropyAware
from opdkit.objectives.grpo import GroupRelativePolicy
from opdkit.objectives.likelihood import NegativeLogLikelihood
from opdkit.objectives.rlsd import SelfDistilledPolicy
from opdkit.objectives.token_divergence import TokenDivergence
from opdkit.objectives.trust_region import TrustRegion
from opdkit.objectives.two_vocabularies import GeneralLogits, UniversalLogits

__all__ = [
    "EntropyAware",
    "GeneralLogits",
    "GroupRelativePolicy",
    "NegativeLogLikelihood",
    "SelfDistilledPolicy",
    "SequenceMean",
    "SequenceSum",
    "TokenDivergence",
    "TokenMean",
    "TrustRegion",
    "UniversalLogits",
]
