"""Who generates: prompts to rollouts, in one turn or in many."""

from opdkit.generation.chat import Chat, Turn
from opdkit.generation.episodes import EpisodeRollout, pack
from opdkit.generation.hf import HFRollout

__all__ = ["Chat", "EpisodeRollout", "HFRollout", "Turn", "pack"]
