"""How a next token is chosen: a sampler names the allowed ids, `draw` picks one of them."""

from opdkit.samplers.drawing import draw
from opdkit.samplers.filters import Ancestral, Greedy, MinP, Sampler, TopK, TopP

__all__ = ["Ancestral", "Greedy", "MinP", "Sampler", "TopK", "TopP", "draw"]
