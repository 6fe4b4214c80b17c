"""Datasets made here: policies of one training run act, and what they do is logged under D4RL's protocol.

dataset = collect(environment, jax.tree_util.Partial(act, policy), jax.random.key(0), num_steps=10_000, num_envs=10)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Key, PyTree

import rlx
from rlx import data, diagnostics, envs
from rlx.algorithms.learner import Learner
from rlx.data.files import check_memory
from rlx.data.minari import describe_space
from rlx.data.reference_scores import MAXIMUM, MINIMUM
from rlx.envs.history import WithHistory
from rlx.envs.observations import flatten
from rlx.training import evaluation
from rlx.training.interaction import begin, interaction, uniform_actions, without_memory

LEVELS = {
    "random": "uniformly random actions",
    "medium": "the policy at about a third of the expert's return",
    "medium-replay": "equal shares of all policies on the way to medium",
    "medium-expert": "half medium, half expert",
    "expert": "the best policy",
    "mixed": "19 parts random, one part expert",
    "full-replay": "equal shares of all policies of the run",
}

MEDIUM_SCORE = 100 / 3
MEDIUM_TOLERANCE = 15.0
EXPERT_SHARE = 0.05
REFERENCE_EPISODES = 100

ActFunction = Callable[[PyTree, Key[Array, ""]], Array]


class Policies(NamedTuple):
    """Policies of one training run, in the order of training.

    Attributes:
        learner: whose policies.
        states: its states, stacked `[policy, ...]`, from the untrained one to the last.
        updates: after how many updates each was saved.
    """

    learner: Learner
    states: PyTree[Array]
    updates: tuple[int, ...]

    def take(self, index: Sequence[int]) -> Policies:
        """Some of them."""
        states = jax.tree.map(lambda x: x[np.asarray(index)], self.states)
        return Policies(self.learner, states, tuple(self.updates[i] for i in index))


class PolicyScores(NamedTuple):
    """How good the policies of a run are.

    Attributes:
        minimum: mean return of uniformly random actions.
        maximum: mean return of the best policy without exploration, from episodes that did not choose it.
        returns: mean return of each policy as it explores, which is how it acts in a dataset.
        expert: number of the best policy.
        medium: number of the policy, up to the best, whose score is nearest to a third.
    """

    minimum: float
    maximum: float
    returns: Float[np.ndarray, " policy"]
    expert: int
    medium: int

    @property
    def scores(self) -> Float[np.ndarray, " policy"]:
        """Normalized scores of the exploring policies."""
        return 100 * (self.returns - self.minimum) / (self.maximum - self.minimum)


def collect(
    environment: envs.Environment, act_fn: ActFunction, key: Key[Array, ""], num_steps: int, num_envs: int = 1
) -> data.Dataset:
    """Logs what a policy does, in one compiled scan.

    Args:
        environment: one environment; it is vmapped here. Its observations are logged as vectors.
        act_fn: `(observation [env, ...], key) -> action [env, ...]`. Parameters bound by `jax.tree_util.Partial` are
            arguments of the compiled program, so that other parameters need no other program.
        key: random key.
        num_steps: transitions in all.
        num_envs: parallel environments; the episode that each is in when the log ends counts as truncated there.

    Returns:
        The dataset, the log of one environment after the other.

    Raises:
        ValueError: a count below one.
        DatasetError: the log is larger than the memory that is free; the simulator gave NaN or infinity.
    """
    for name, count in (("num_steps", num_steps), ("num_envs", num_envs)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    act_fn = act_fn if isinstance(act_fn, Partial) else Partial(act_fn)
    arguments = environment, act_fn, key, -(-num_steps // num_envs), num_envs
    expected = jax.tree.leaves(_log.eval_shape(*arguments))
    check_memory(sum(x.size * x.dtype.itemsize for x in expected), f"{num_steps:,} transitions")
    log = _log(*arguments)
    rows = {name: np.asarray(x).reshape(-1, *x.shape[2:])[:num_steps] for name, x in log.items()}
    return data.make_dataset(**rows)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _log(environment: envs.Environment, act_fn: Partial, key: Array, length: int, num_envs: int) -> dict[str, Array]:
    """Fields of a `Dataset`, `[env, time, ...]`."""
    reset_key, key = jax.random.split(key)
    interact, recorded = interaction(environment, without_memory(act_fn)), _recorder(environment)

    def one_step(acting, key):
        acting, transition = interact(acting, key)
        row = dict(
            observation=recorded(transition.observation),
            action=transition.action,
            reward=transition.reward,
            next_observation=recorded(transition.next_observation),
            terminated=transition.terminated,
            truncated=transition.truncated,
        )
        return acting, row

    _, log = jax.lax.scan(one_step, begin(environment, reset_key, num_envs), jax.random.split(key, length))
    log = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), log)
    cut = ~log["terminated"][:, -1]
    return log | {"truncated": log["truncated"].at[:, -1].max(cut)}


def _bare(environment: envs.Environment) -> envs.Environment:
    """The environment without the history that a policy is shown."""
    return environment.environment if isinstance(environment, WithHistory) else environment


def _recorder(environment: envs.Environment) -> Callable[[PyTree], Float[Array, "env feature"]]:
    """Of observations `[env, ...]`, what was observed last, as vectors."""
    space = _bare(environment).observation_space

    def recorded(observation: PyTree) -> Array:
        if isinstance(environment, WithHistory):
            observation = jax.tree.map(lambda x: x[:, -1], observation["observation"])
        return jax.vmap(functools.partial(flatten, space))(observation)

    return recorded


def exploring(policies: Policies) -> Partial:
    """Acts as each policy explores, every one in an equal share of the environments.

    Raises:
        ValueError: the policies have a memory.
    """
    _check_feedforward(policies)
    count = len(policies.updates)

    def act(states, observation, key):
        shared = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), observation)
        action, _ = jax.vmap(policies.learner.act)(states, shared, jax.random.split(key, count))
        return action.reshape(-1, *action.shape[2:])

    return Partial(act, policies.states)


def score_policies(
    environment: envs.Environment,
    policies: Policies,
    key: Key[Array, ""],
    *,
    num_episodes: int,
    max_steps: int | None = None,
) -> PolicyScores:
    """Finds the expert and the medium policy of a run, and the returns that its scores refer to.

    Args:
        environment: one environment.
        policies: of the run.
        key: random key.
        num_episodes: episodes of each policy, of each kind; the references are means over `REFERENCE_EPISODES`.
        max_steps: where an episode is cut, for an environment without a time limit.

    Raises:
        ValueError: the best policy is no better than random actions; the policies have a memory.
    """
    _check_feedforward(policies)
    policy_key, reference_key = jax.random.split(key)
    learner, act_randomly = policies.learner, uniform_actions(environment.action_space)

    def act(state, observation, key):
        is_random, policy = state
        action, extras = learner.act(policy, observation, key)
        return jnp.where(is_random, act_randomly(observation, key), action), extras

    either = learner._replace(act=act, mode=lambda state, observation: learner.mode(state[1], observation))

    def measure(learner, states, key, num_episodes):
        evaluate = evaluation.episodes(environment, learner, num_episodes=num_episodes, max_steps=max_steps)
        count = len(jax.tree.leaves(states)[0])
        measured = jax.jit(jax.vmap(evaluate))(states, jax.random.split(key, count))
        return {name: np.asarray(x, np.float64) for name, x in measured.items()}

    measured = measure(learner, policies.states, policy_key, num_episodes)
    expert = int(np.argmax(measured["eval_return_mean"]))
    best = policies.take([expert, expert]).states
    references = measure(either, (jnp.array([True, False]), best), reference_key, REFERENCE_EPISODES)
    minimum = float(references["eval_stochastic_return_mean"][0])
    maximum = float(references["eval_return_mean"][1])
    if not maximum > minimum:
        raise ValueError(
            f"the best policy of the run returns {maximum:.4g}, no more than random actions with {minimum:.4g}: "
            "it has to be trained longer"
        )
    returns = measured["eval_stochastic_return_mean"]
    scores = 100 * (returns[: expert + 1] - minimum) / (maximum - minimum)
    return PolicyScores(minimum, maximum, returns, expert, int(np.argmin(np.abs(scores - MEDIUM_SCORE))))


def make(
    environment: envs.Environment,
    policies: Policies,
    scores: PolicyScores,
    level: str,
    *,
    num_steps: int,
    seed: int = 0,
) -> tuple[data.Dataset, dict[str, Any]]:
    """A dataset of one of D4RL's levels.

    Args:
        environment: one environment.
        policies: of the run.
        scores: theirs.
        level: one of `LEVELS`.
        num_steps: transitions.
        seed: of everything random.

    Returns:
        The dataset, and its metadata: what it is, reference scores, spaces, and what `rlx dataset info` measures the
        coverage by: the number of distinct state-action pairs in as many steps of the full replay.

    Raises:
        ValueError: there is no such level, or no policy of the run is of medium quality where the level asks for one.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    if "medium" in level:
        _check_medium(policies, scores)
    replay_key, key = jax.random.split(jax.random.key(seed))
    replay = _replay(environment, policies, range(len(policies.updates)), replay_key, num_steps)
    expert_steps = max(1, round(EXPERT_SHARE * num_steps))
    random_act = uniform_actions(environment.action_space)

    def at_random(steps: int) -> data.Dataset:
        return collect(environment, random_act, key, steps, _parallel(environment, steps))

    def by(index: Sequence[int], steps: int) -> data.Dataset:
        return _collect(environment, policies.take(index), jax.random.fold_in(key, 1), steps)

    dataset = {
        "random": lambda: at_random(num_steps),
        "medium": lambda: by([scores.medium], num_steps),
        "medium-replay": lambda: _replay(environment, policies, range(scores.medium + 1), key, num_steps),
        "medium-expert": lambda: by([scores.medium, scores.expert], num_steps),
        "expert": lambda: by([scores.expert], num_steps),
        "mixed": lambda: data.concatenate([at_random(num_steps - expert_steps), by([scores.expert], expert_steps)]),
        "full-replay": lambda: replay,
    }[level]()
    observed = envs.flatten_observations(_bare(environment))
    metadata = {
        "dataset_id": f"rlx/{environment.name.replace(':', '-').replace('/', '-')}/{level}-v0",
        "env": environment.name,
        "level": level,
        "seed": seed,
        MINIMUM: scores.minimum,
        MAXIMUM: scores.maximum,
        "expert_update": policies.updates[scores.expert],
        "expert_score": float(scores.scores[scores.expert]),
        "medium_update": policies.updates[scores.medium],
        "medium_score": float(scores.scores[scores.medium]),
        "observation_space": describe_space(observed.observation_space),
        "action_space": describe_space(environment.action_space),
        "rlx_version": rlx.__version__,
    }
    return dataset, metadata | coverage_reference(replay)


def coverage_reference(replay: data.Dataset) -> dict[str, Any]:
    """What the coverage of other datasets is measured by: limits of the bins, and how many pairs `replay` holds."""
    features = _features(replay)
    limits = {"saco_low": features.min(0), "saco_high": features.max(0)}
    return {
        **{name: x.tolist() for name, x in limits.items()},
        "saco_unique": count_pairs(replay, **limits),
        "saco_rows": replay.num_rows,
    }


def count_pairs(dataset: data.Dataset, saco_low: Any, saco_high: Any) -> int:
    """Number of distinct state-action pairs of a dataset between given limits of its features."""
    return int(
        diagnostics.unique_state_action(
            jnp.asarray(dataset.observation, float),
            dataset.action,
            low=jnp.asarray(saco_low, float),
            high=jnp.asarray(saco_high, float),
        )
    )


def _features(dataset: data.Dataset) -> np.ndarray:
    """Observations and actions side by side `[row, feature]`."""
    parts = (np.asarray(x, np.float32).reshape(dataset.num_rows, -1) for x in (dataset.observation, dataset.action))
    return np.concatenate(list(parts), axis=1)


def _collect(environment: envs.Environment, policies: Policies, key: Array, num_steps: int) -> data.Dataset:
    """Equal shares of several policies, one after the other."""
    count = len(policies.updates)
    parallel = _parallel(environment, num_steps // count)
    return collect(environment, exploring(policies), key, num_steps, count * parallel)


def _replay(
    environment: envs.Environment, policies: Policies, index: Sequence[int], key: Array, num_steps: int
) -> data.Dataset:
    """What a run went through, in equal shares of as many of its policies as can finish an episode each."""
    # Whole episodes of each, as far as the time limit tells.
    limit = environment.max_episode_steps or 1000
    each = limit * -(-num_steps // (limit * len(index)))
    count = max(1, num_steps // each)
    # A single one is the last of them.
    spread = np.linspace(len(index) - 1, 0, count).round().astype(int)[::-1]
    return _collect(environment, policies.take([index[i] for i in spread]), key, num_steps)


def _parallel(environment: envs.Environment, num_steps: int) -> int:
    """Environments to spread steps over: few enough that the episodes cut at the end are few among the others."""
    if environment.host:
        return 1
    return int(np.clip(num_steps // (10 * (environment.max_episode_steps or 1000)), 1, 64))


def _check_feedforward(policies: Policies) -> None:
    if policies.learner.memory is not None:
        raise ValueError("datasets are made by policies that act on one observation; these have a memory")


def _check_medium(policies: Policies, scores: PolicyScores) -> None:
    score = scores.scores[scores.medium]
    if abs(score - MEDIUM_SCORE) > MEDIUM_TOLERANCE:
        raise ValueError(
            f"no policy of the run is of medium quality: of {len(policies.updates)} saved ones, that nearest to a "
            f"score of {MEDIUM_SCORE:.0f} has {score:.0f}; it takes a run with more checkpoints"
        )
