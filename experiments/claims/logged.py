"""What the claims on learning from data learn from: logs of controllers written by hand, and of trained policies.

A maze and a pendulum are cheap enough for any size of claim; Brax's hopper takes a policy that is trained once and
kept in the user's cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from rlx import data, envs
from rlx.algorithms import Learner
from rlx.data.reference_scores import MAXIMUM, MINIMUM
from rlx.envs import Environment
from rlx.recipes.datasets import collect, make
from rlx.training import evaluation
from rlx.training.interaction import uniform_actions

Controller = Callable[[Float[Array, "env observation"], Key[Array, ""]], Float[Array, "env action"]]

MAZE = (
    ".......",
    ".##.##.",
    ".#...#.",
    ".#.#.#.",
    "...#..G",
)
"""Two ways around a block, and a room in its middle; 14 cells lie between the farthest start and the goal."""
MAZE_STEPS = 80
"""Time limit of the maze: a straight walk from the farthest start takes three quarters of it."""


class Logged(NamedTuple):
    """A dataset and where what is learned from it is tried.

    Attributes:
        environment: one environment.
        dataset: the log.
        minimum: mean return of random actions, score 0.
        maximum: mean return of the best behavior, score 100.
        made: of what, in words.
    """

    environment: Environment
    dataset: data.Dataset
    minimum: float
    maximum: float
    made: str

    @property
    def description(self) -> str:
        """The environment, how many rows, and how they were made."""
        return f"{self.environment.name}, {self.dataset.num_rows:,} rows: {self.made}"

    def write(self, path: str | Path) -> Path:
        """Save in D4RL's format with the reference scores, for learners that read a file."""
        metadata = {"env": self.environment.name, MINIMUM: self.minimum, MAXIMUM: self.maximum}
        data.write_dataset(path, self.dataset, metadata)
        return Path(path)


def log(
    environment: Environment,
    shares: Sequence[tuple[Controller, float]],
    *,
    made: str,
    expert: Controller,
    num_steps: int,
    episodes_each: int = 4,
    seed: int = 0,
) -> Logged:
    """Several controllers' logs, one after the other.

    Args:
        environment: one environment.
        shares: controllers, and the share of the steps that each makes.
        made: the same in words.
        expert: whose mean return is score 100.
        num_steps: transitions in all, about: every environment logs a multiple of the time limit, so that where
            episodes always reach it none is cut. Where a reward is a cost a cut episode would pass for a good one.
        episodes_each: full-length episodes that a parallel environment has room for.
        seed: of everything random.
    """
    total = sum(share for _, share in shares)
    parts = []
    for number, (controller, share) in enumerate(shares):
        episodes = max(1, round(num_steps * share / total / environment.max_episode_steps))
        num_envs = max(1, round(episodes / episodes_each))
        steps = num_envs * max(1, round(episodes / num_envs)) * environment.max_episode_steps
        parts.append(collect(environment, controller, jax.random.key(seed * 1000 + number), steps, num_envs))
    return Logged(
        environment,
        data.concatenate(parts),
        mean_return(environment, uniform_actions(environment.action_space)),
        mean_return(environment, expert),
        made,
    )


def mean_return(environment: Environment, controller: Controller, *, num_episodes: int = 200, seed: int = 7) -> float:
    """Mean return of whole episodes of a controller."""

    acting = Learner(
        init=lambda key, example: (),
        act=lambda state, observation, key: (controller(observation, key), {}),
        mode=lambda state, observation: controller(observation, jax.random.key(seed)),
        update=lambda state, batch, key: (state, {}),
    )
    evaluate = evaluation.episodes(environment, acting, num_episodes=num_episodes)
    return float(jax.jit(evaluate)((), jax.random.key(seed))["eval_stochastic_return_mean"])


def noisy(controller: Controller, space, *, std: float) -> Controller:
    """A controller's actions with Gaussian noise of `std` half ranges, within the space's bounds."""
    low, high = jnp.asarray(space.low), jnp.asarray(space.high)

    def act(observation: Array, key: Key[Array, ""]) -> Array:
        own_key, noise_key = jax.random.split(key)
        action = controller(observation, own_key)
        noise = std * (high - low) / 2 * jax.random.normal(noise_key, action.shape)
        return jnp.clip(action + noise, low, high)

    return act


def swing_up(observation: Float[Array, "env 3"], key: Key[Array, ""]) -> Float[Array, "env 1"]:
    """Swings the pendulum up: pumps energy until it suffices, then balances.

    With unit mass and length the energy relative to resting upright is θ̇²/6 + 5·(cos θ − 1), whose rate is u·θ̇.
    """
    cosine, sine, speed = jnp.moveaxis(observation, -1, 0)
    lacking = -(speed**2 / 6 + 5 * (cosine - 1))
    # At rest there is no direction to pump in: any will do.
    pump = 2 * jnp.clip(lacking, -1, 1) * jnp.where(speed >= 0, 1.0, -1.0)
    angle = jnp.arctan2(sine, cosine)
    balance = -(12 * angle + 2.5 * speed)
    return jnp.clip(jnp.where(cosine > 0.9, balance, pump), -2.0, 2.0)[..., None]


def pendulum(shares: Mapping[str, float], *, num_steps: int = 20_000, seed: int = 0) -> Logged:
    """The pendulum under the controllers of `PENDULUM`, in given shares."""
    environment = envs.make("rlx:pendulum")
    space = environment.action_space
    weak = lambda observation, key: 0.4 * swing_up(observation, key)
    controllers = {
        "random": uniform_actions(space),
        "noisy": noisy(swing_up, space, std=1.0),
        "weak": noisy(weak, space, std=0.1),
        "expert": noisy(swing_up, space, std=0.1),
    }
    given = [(controllers[name], share) for name, share in shares.items()]
    made = in_words({PENDULUM[name]: share for name, share in shares.items()})
    return log(environment, given, made=made, expert=swing_up, num_steps=num_steps, seed=seed)


PENDULUM = {
    "random": "random actions",
    "noisy": "a swing-up with noise of its whole torque",
    "weak": "a swing-up with 40 % of the torque and little noise",
    "expert": "a swing-up with little noise",
}
"""Behaviors of the pendulum, in words. Little is a standard deviation of a tenth of the torque: the actions at a state
are nearly one, and what other actions would do is hardly in the data."""


def in_words(shares: Mapping[str, float]) -> str:
    """Shares of a log by what made them."""
    total = sum(shares.values())
    return ", ".join(f"{100 * share / total:.3g} % {name}" for name, share in shares.items())


def to_cell(layout: Sequence[str], target: tuple[int, int], *, reach: int | None = None) -> Controller:
    """Walks through a maze to a cell, from center to center along a shortest way.

    Args:
        layout: rows of the maze.
        target: row and column.
        reach: from cells farther than this it acts at random; None for no such limit.
    """
    free = np.array([[cell != "#" for cell in row] for row in layout])
    distance = np.full(free.shape, np.inf)
    following = np.zeros((*free.shape, 2), np.float32)
    distance[target], following[target] = 0, target
    queue = deque([target])
    while queue:
        row, column = queue.popleft()
        for cell in ((row - 1, column), (row, column + 1), (row + 1, column), (row, column - 1)):
            inside = 0 <= cell[0] < free.shape[0] and 0 <= cell[1] < free.shape[1]
            if inside and free[cell] and distance[cell] == np.inf:
                distance[cell], following[cell] = distance[row, column] + 1, (row, column)
                queue.append(cell)
    known = jnp.asarray(distance <= (np.inf if reach is None else reach))
    waypoints = jnp.asarray(following[..., ::-1] * np.array([1, -1], np.float32))

    def act(observation: Array, key: Key[Array, ""]) -> Array:
        position, speed = observation[..., :2], observation[..., 2:]
        column, row = jnp.moveaxis(jnp.round(position * jnp.array([1, -1])).astype(int), -1, 0)
        pull = jnp.clip(3 * (waypoints[row, column] - position) - 6 * speed, -1, 1)
        anywhere = jax.random.uniform(key, pull.shape, minval=-1, maxval=1)
        return jnp.where(known[row, column][..., None], pull, anywhere)

    return act


def maze_environment(layout: Sequence[str] = MAZE) -> Environment:
    """The maze that logs are made in, and what is learned from them is tried in."""
    return envs.make("rlx:point_maze", layout=layout, max_episode_steps=MAZE_STEPS)


def maze(
    controllers: Sequence[tuple[Controller, float]],
    *,
    made: str,
    layout: Sequence[str] = MAZE,
    num_steps: int = 20_000,
    seed: int = 0,
) -> Logged:
    """A point maze under given controllers, in given shares; score 100 is a walk straight to the goal."""
    environment = maze_environment(layout)
    expert = to_cell(layout, goal_of(layout))
    return log(environment, controllers, made=made, expert=expert, num_steps=num_steps, seed=seed)


def goal_of(layout: Sequence[str]) -> tuple[int, int]:
    """Row and column of a maze's goal."""
    ((row, column),) = np.argwhere([[cell == "G" for cell in row] for row in layout])
    return int(row), int(column)


def stitching(*, layout: Sequence[str] = MAZE, num_steps: int = 20_000, good: float = 0.3, seed: int = 0) -> Logged:
    """A maze whose data hold no whole way to the goal: walks to its upper middle, walks from there on, and wandering.

    Those who walk to the goal start to do so within seven cells of it, and all but `good` of the steps are random.
    """
    space = maze_environment(layout).action_space
    halves = (to_cell(layout, (0, 3)), to_cell(layout, goal_of(layout), reach=7))
    shares = [(noisy(half, space, std=0.3), good / 2) for half in halves]
    words = ("walks to the upper middle", "walks to the goal from within seven cells", "random actions")
    made = in_words(dict(zip(words, (good / 2, good / 2, 1 - good), strict=True)))
    controllers = [*shares, (uniform_actions(space), 1 - good)]
    return maze(controllers, made=made, layout=layout, num_steps=num_steps, seed=seed)


def hopper(
    shares: Mapping[str, float], *, num_steps: int = 50_000, train_steps: int = 400_000, seed: int = 0
) -> Logged:
    """Brax's hopper under levels of `rlx dataset make`, in given shares; its policy is trained once and kept."""
    from rlx.cli import dataset_policies

    run_dir = dataset_policies.train_policies(
        "ppo", "brax:hopper", seed=seed, changes={"total_steps": train_steps}, num_checkpoints=50, quiet=True
    )
    record, environment, found = dataset_policies.restored(run_dir)
    scores = dataset_policies.scored(run_dir, record, environment, found, seed=seed, num_episodes=16, keep=True)
    total = sum(shares.values())
    parts = [
        make(environment, found, scores, level, num_steps=round(num_steps * share / total), seed=seed)[0]
        for level, share in shares.items()
    ]
    made = in_words({f"{level} policy": share for level, share in shares.items()})
    return Logged(environment, data.concatenate(parts), scores.minimum, scores.maximum, made)
