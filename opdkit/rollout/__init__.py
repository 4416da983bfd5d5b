"""Who generates: prompts to rollouts, in one turn or in many."""

from opdkit.rollout.chat import Chat, Turn
from opdkit.rollout.episodes import EpisodeRollout, pack
from opdkit.rollout.hf import HFRollout

__all__ = ["Chat", "EpisodeRollout", "HFRollout", "Turn", "pack"]
