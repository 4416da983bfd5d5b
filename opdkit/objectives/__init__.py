"""What is minimised: one small file per objective, and how token losses become one number."""

from opdkit.objectives.aggregation import SequenceMean, SequenceSum, TokenMean
from opdkit.objectives.sampled import SampledToken
from opdkit.objectives.topk import TopK

__all__ = ["SampledToken", "SequenceMean", "SequenceSum", "TokenMean", "TopK"]
