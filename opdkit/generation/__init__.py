"""Generation: inference engines, packing of completions into rollouts, and episode playing."""

from opdkit.generation.base import Ask, Completion, Engine, EngineSpec, Memory, Sampling
from opdkit.generation.chat import Chat
from opdkit.generation.correction import EngineCorrection, gap_metrics
from opdkit.generation.episodes import EpisodeRollout
from opdkit.generation.hf import HFEngine, HFRollout
from opdkit.generation.model_policy import ModelPolicy
from opdkit.generation.pack import Turn, pack, pad_prompts
from opdkit.generation.play import EpisodeState, Move, Policy, play
from opdkit.generation.vllm import VLLMRollout

__all__ = [
    "Ask",
    "Chat",
    "Completion",
    "Engine",
    "EngineCorrection",
    "EngineSpec",
    "EpisodeRollout",
    "EpisodeState",
    "HFEngine",
    "HFRollout",
    "Memory",
    "ModelPolicy",
    "Move",
    "Policy",
    "Sampling",
    "Turn",
    "VLLMRollout",
    "gap_metrics",
    "pack",
    "pad_prompts",
    "play",
]
