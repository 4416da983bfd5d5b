"""Sampling of the next token: a sampler selects the allowed ids, `draw` samples one of them."""

from opdkit.samplers.drawing import draw
from opdkit.samplers.filters import Ancestral, Greedy, MinP, Sampler, TopK, TopP

__all__ = ["Ancestral", "Greedy", "MinP", "Sampler", "TopK", "TopP", "draw"]
