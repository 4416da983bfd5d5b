"""Masking rules: which sampled tokens enter the loss, bool[B, T], never True outside the rollout's sampled_mask."""

from opdkit.masking.base import Masking, NamesStrings, StatesEntropy, TokenizerLike, Vocabularies, needs_entropy
from opdkit.masking.entropy import EntropySelected
from opdkit.masking.first_occurrence import FirstOccurrence
from opdkit.masking.none import NoMask
from opdkit.masking.pieces import Pieces
from opdkit.masking.special_spans import SpecialSpans, find_spans, split, treated_alike

__all__ = [
    "EntropySelected",
    "FirstOccurrence",
    "Masking",
    "NamesStrings",
    "NoMask",
    "Pieces",
    "SpecialSpans",
    "StatesEntropy",
    "TokenizerLike",
    "Vocabularies",
    "find_spans",
    "needs_entropy",
    "split",
    "treated_alike",
]
