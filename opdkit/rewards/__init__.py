"""What a response is worth: the task's verdict, a function of the user's, a judge, a rubric."""

from opdkit.rewards.base import Group, OpenReward, Reward, RewardContext
from opdkit.rewards.function import FunctionReward
from opdkit.rewards.judge import JudgeReward
from opdkit.rewards.rubric import RubricReward
from opdkit.rewards.task import TaskReward

__all__ = [
    "FunctionReward",
    "Group",
    "JudgeReward",
    "OpenReward",
    "Reward",
    "RewardContext",
    "RubricReward",
    "TaskReward",
]
