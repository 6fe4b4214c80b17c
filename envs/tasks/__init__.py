"""Our own tasks: small, pure and fast. Each exists to show a claim, and each function here makes one."""

from typing import Any

from rlx.envs.episodes import Task
from rlx.envs.registry import check_options
from rlx.envs.tasks.bandit import bandit
from rlx.envs.tasks.chain import chain
from rlx.envs.tasks.gridworld import gridworld
from rlx.envs.tasks.multigoal import multigoal
from rlx.envs.tasks.pendulum import pendulum
from rlx.envs.tasks.pendulum_without_velocity import pendulum_without_velocity
from rlx.envs.tasks.point_maze import point_maze

__all__ = [
    "bandit",
    "chain",
    "gridworld",
    "load",
    "multigoal",
    "pendulum",
    "pendulum_without_velocity",
    "point_maze",
]

_TASKS = {
    make.__name__: make
    for make in (bandit, chain, gridworld, multigoal, pendulum, pendulum_without_velocity, point_maze)
}


def load(task: str, **options: Any) -> Task:
    """Makes the task called `task` with the options of its function."""
    check_options(f"rlx:{task}", options, _TASKS[task])
    return _TASKS[task](**options)
