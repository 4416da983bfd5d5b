"""Rewards: the task's own grader, a user function, a judge, or a rubric."""

from opdkit.rewards.base import AsksTeacher, Group, OpenReward, Reward, RewardContext, asks_teacher
from opdkit.rewards.function import FunctionReward
from opdkit.rewards.judge import JudgeReward
from opdkit.rewards.rubric import RubricReward
from opdkit.rewards.task import TaskReward

__all__ = [
    "AsksTeacher",
    "FunctionReward",
    "Group",
    "JudgeReward",
    "OpenReward",
    "Reward",
    "RewardContext",
    "RubricReward",
    "TaskReward",
    "asks_teacher",
]
