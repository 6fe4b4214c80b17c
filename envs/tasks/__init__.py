"""Our own tasks: small, pure and fast. Each exists to show a claim, and each function here makes one."""

from typing import Any

from envs.episodes import Task
from envs.registry import check_options
from envs.tasks.bandit import bandit
from envs.tasks.chain import chain
from envs.tasks.gridworld import gridworld
from envs.tasks.multigoal import multigoal
from envs.tasks.pendulum import pendulum
from envs.tasks.point_maze import point_maze

__all__ = ["bandit", "chain", "gridworld", "load", "multigoal", "pendulum", "point_maze"]

_TASKS = {make.__name__: make for make in (bandit, chain, gridworld, multigoal, pendulum, point_maze)}


def load(task: str, **options: Any) -> Task:
    """Makes the task called `task` with the options of its function."""
    check_options(f"rlx:{task}", options, _TASKS[task])
    return _TASKS[task](**options)
