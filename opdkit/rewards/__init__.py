"""What a response is worth: the task's verdict, a function of the user's, a judge, a rubric."""

from opdkit.rewards.base import Group, OpenReward, Reward, RewardContext
from opdkit.rewards.task import TaskReward

__all__ = ["Group", "OpenReward", "Reward", "RewardContext", "TaskReward"]
