"""Who generates: prompts to rollouts."""

from opdkit.rollout.hf import HFRollout

__all__ = ["HFRollout"]
