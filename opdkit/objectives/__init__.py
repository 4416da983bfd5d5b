"""What is minimised: the algebra of token-level divergences, rewards alone, and how token losses become one number."""

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
