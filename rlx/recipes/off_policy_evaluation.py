"""What a trained policy is worth by a dataset alone: fitted Q evaluation, importance sampling, and both together."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree
from scipy import stats

from rlx import data, diagnostics, policies
from rlx.algorithms import bc, fqe
from rlx.algorithms.learner import Learner
from rlx.recipes import discrete
from rlx.training import sources
from rlx.training.program import make_program
from rlx.training.statistics import episode_interval

ROWS_AT_ONCE = 4096
"""Rows of a dataset that networks see at a time."""

SLOWEST, FASTEST, RESTS = 0.005, 0.1, 7.0
"""Least and largest τ of the values' targets, and how many times their error shall fall by e within the steps."""

PERCENTILES = "percentiles of 1,000 bootstrap resamples of the episodes"
"""What the intervals are that need no replicate of a fit."""


@dataclasses.dataclass(frozen=True)
class Fitting:
    """How values and the behavior's policy are fitted.

    Attributes:
        steps: gradient steps of the values.
        cloning_steps: gradient steps of the behavior's policy.
        members: bootstrap replicates of the values, beside those of all episodes.
        batch_size: transitions of a minibatch.
        learning_rate: Adam's step size.
        tau: how far the target critics move in an update; None takes `target_step`.
        hidden_sizes: hidden layers of the critics and of the behavior's policy.
        updates_per_call: gradient steps between two signs of life.
    """

    steps: int = 20_000
    cloning_steps: int = 10_000
    members: int = 10
    batch_size: int = 256
    learning_rate: float = 3e-4
    tau: float | None = None
    hidden_sizes: tuple[int, ...] = (256, 256)
    updates_per_call: int = 1000


def target_step(steps: int, discount: float) -> float:
    """τ with which values come to rest within so many gradient steps, as far as that is wise.

    Targets that move by τ in a step carry rewards back so slowly that the error of the values falls by e in
    1 / (τ·(1 − γ)) steps, however well they are fitted: at γ = 0.99 and τ = 0.005 that is 20,000.
    """
    return float(np.clip(RESTS / max(steps * (1 - discount), 1e-6), SLOWEST, FASTEST))


def steps_to_rest(discount: float) -> int:
    """Gradient steps that values need to come to rest with the largest τ of `target_step`."""
    return math.ceil(round(RESTS / (FASTEST * (1 - discount)), 6))


class Estimate(NamedTuple):
    """An estimated value, the 95 % interval of it, and what the interval is of."""

    value: float
    low: float
    high: float
    interval: str


class Evaluation(NamedTuple):
    """What a dataset says about a policy.

    Attributes:
        estimates: of the discounted return from where the dataset's episodes begin, by method.
        effective_episodes: how many of the episodes the importance weights leave; None without them.
    """

    estimates: dict[str, Estimate]
    effective_episodes: float | None


class _Steps(NamedTuple):
    """Rows of a dataset by episode and time, and which there are."""

    index: Array
    where: Array


Report = Callable[[str, int, int], None]
"""`(what, steps done, steps in all)`, called between compiled programs."""


def evaluate(
    learner: Learner,
    learner_state: PyTree,
    dataset: data.Dataset,
    action_space: gymnasium.Space,
    *,
    discount: float,
    stochastic: bool = False,
    behavior_log_prob: Float[Array, " row"] | None = None,
    fitting: Fitting | None = None,
    seed: int = 0,
    report: Report = lambda what, done, total: None,
) -> Evaluation:
    """Estimate a policy's discounted return by a dataset of other policies' episodes.

    The values are fitted for every bootstrap replicate of the episodes anew. Importance sampling needs densities: of
    the policy, which it has if it explores, and of the behavior, which is estimated by cloning the dataset unless it
    is given (Hanna, Niekum and Stone, 2019, arXiv:1806.01347). The doubly robust estimate takes the fitted values as
    they are, so that its interval knows nothing of their error. All episodes count up to where they were logged; fitted
    values go on where an episode was cut.

    Args:
        learner: whose policy, which sees one observation.
        learner_state: its state.
        dataset: transitions in the environment's units.
        action_space: of the environment.
        discount: γ.
        stochastic: evaluate the exploring policy, not the deterministic one.
        behavior_log_prob: log-probabilities of the logged actions; None estimates them.
        fitting: how values and behavior are fitted.
        seed: of everything random.
        report: told how far it has come.

    Raises:
        ValueError: a policy with a memory.
    """
    fitting = Fitting() if fitting is None else fitting
    if learner.memory is not None:
        raise ValueError("a policy with a memory cannot be evaluated by single transitions")
    value_key, behavior_key, action_key = jax.random.split(jax.random.key(seed), 3)
    policy = _policy(learner, learner_state, stochastic)
    counts = _bootstrap_counts(dataset.num_episodes, fitting.members, seed)
    fitted = fit_values(
        policy, dataset, action_space, counts, value_key, discount=discount, fitting=fitting, report=report
    )
    initial = np.asarray(fitted.value(dataset.observation[dataset.episode_start], action_key), np.float64)
    means = np.sum(counts * initial, axis=1) / np.sum(counts, axis=1)
    estimates = {"logged episodes": _logged(dataset, discount), "fitted Q evaluation": _replicated(*means)}
    if not (stochastic and _has_density(learner, learner_state, dataset)):
        return Evaluation(estimates, None)
    if behavior_log_prob is None:
        behavior_log_prob = fit_behavior(dataset, action_space, behavior_key, fitting=fitting, report=report)
    weighted, effective = _importance(learner, learner_state, dataset, behavior_log_prob, fitted, action_key, discount)
    return Evaluation(estimates | weighted, effective)


class FittedValues(NamedTuple):
    """Values that were fitted; functions of rows, for the first so many members `[member, row]`, None for all.

    Attributes:
        value: `(observation, key, members) -> V(s)`.
        q: `(observation, action, members) -> Q(s, a)`.
    """

    value: Callable[..., Float[Array, "member row"]]
    q: Callable[..., Float[Array, "member row"]]


def fit_values(
    policy: fqe.EvaluatedPolicy,
    dataset: data.Dataset,
    action_space: gymnasium.Space,
    counts: Float[np.ndarray, "member episode"],
    key: Array,
    *,
    discount: float,
    fitting: Fitting,
    report: Report = lambda what, done, total: None,
) -> FittedValues:
    """Fitted Q evaluation of a policy; each member learns from the episodes as often as its counts say.

    Observations are normalized by the dataset's statistics, and rewards by the size of its returns-to-go, those of
    episodes that were cut going on, for the fit alone.
    """
    to_go = data.returns_to_go(dataset, discount=discount, continued=discount < 1)
    scale = jnp.maximum(jnp.sqrt(jnp.mean(to_go**2)), 1e-6)
    scaled = dataset._replace(reward=dataset.reward / scale)
    critic = _critic(dataset, action_space, fitting.hidden_sizes, len(counts))
    tau = target_step(fitting.steps, discount) if fitting.tau is None else fitting.tau
    learner = fqe.learner(critic, policy, optax.adam(fitting.learning_rate), discount=discount, tau=tau)
    rows = scaled, jnp.asarray(counts.T, jnp.float32), dataset.episode_number

    def sample(rows: PyTree, key: Array, count: int) -> data.Batch:
        dataset, of_episode, number = rows
        batch = data.sample(dataset, key, count)
        return batch._replace(extras={fqe.COUNT: of_episode[number[batch.extras["index"]]]})

    params = _train(learner, rows, sample, key, fitting.steps, "values", fitting, report).params
    first = lambda members: jax.tree.map(lambda x: x[:members], params)

    def value(observation: Array, key: Array, members: int | None = None) -> Array:
        of_rows = lambda x: scale * fqe.value(critic, first(members), policy, x, key, num_actions=8)
        return _by_rows(of_rows, observation)

    def q(observation: Array, action: Array, members: int | None = None) -> Array:
        return _by_rows(lambda *rows: scale * critic.apply(first(members), *rows), observation, action)

    return FittedValues(value, q)


def fit_behavior(
    dataset: data.Dataset,
    action_space: gymnasium.Space,
    key: Array,
    *,
    fitting: Fitting,
    report: Report = lambda what, done, total: None,
) -> Float[Array, " row"]:
    """Log-probability of every logged action under a policy that was cloned from all of them."""
    squash = "tanh" if discrete.num_actions(action_space) is None and action_space.is_bounded() else "identity"
    network = discrete.cloning_policy(action_space, fitting.hidden_sizes, squash=squash, state_dependent_std=True)
    network = _seeing_normalized(network, dataset)
    learner = bc.learner(network, optax.adam(fitting.learning_rate))
    state = _train(learner, dataset, data.sample, key, fitting.cloning_steps, "behavior", fitting, report)
    return _by_rows(functools.partial(learner.log_prob, state), dataset.observation, dataset.action)


def _importance(
    learner: Learner,
    learner_state: PyTree,
    dataset: data.Dataset,
    behavior_log_prob: Array,
    fitted: FittedValues,
    key: Array,
    discount: float,
) -> tuple[dict[str, Estimate], float]:
    """The estimates that weight episodes by how likely the policy makes them, and how many episodes that leaves."""
    log_prob = _by_rows(functools.partial(learner.log_prob, learner_state), dataset.observation, dataset.action)
    # The first member alone has all episodes as they are.
    following = fitted.value(dataset.next_observation, key, 1)[0]
    steps = _by_episode(dataset)
    lay_out = lambda rows: jnp.where(steps.where, rows[steps.index], 0.0)
    log_prob, behavior_log_prob, reward, q, next_value = map(
        lay_out,
        (
            log_prob,
            behavior_log_prob,
            dataset.reward,
            fitted.q(dataset.observation, dataset.action, 1)[0],
            jnp.where(dataset.terminated, 0.0, following),
        ),
    )
    initial_value = fitted.value(dataset.observation[dataset.episode_start], key, 1)[0]
    sampled, corrected = (log_prob, behavior_log_prob, reward), (q, next_value, initial_value)
    common = dict(discount=discount, where=steps.where)
    resampled = functools.partial(_resampled, num_episodes=dataset.num_episodes, **common)
    log_weight = jnp.sum(log_prob - behavior_log_prob, axis=-1)
    return {
        "importance sampling (WIS)": resampled(diagnostics.importance_sampling, *sampled, per_decision=False),
        "importance sampling, per decision (CWPDIS)": resampled(diagnostics.importance_sampling, *sampled),
        "doubly robust (WDR)": resampled(diagnostics.doubly_robust, *sampled, *corrected),
    }, float(diagnostics.effective_sample_size(log_weight))


def _resampled(
    method: Callable[..., Array], *arrays: Array, where: Array, num_episodes: int, discount: float, **options: Any
) -> Estimate:
    """An estimate, and its percentile interval over resampled episodes."""

    # One after the other: side by side they would take a thousand times the memory of the dataset.
    @jax.jit
    def of_resamples(arrays: tuple[Array, ...], where: Array, counts: Array) -> Array:
        one = lambda weight: method(*arrays, discount=discount, weight=weight, where=where, **options)
        return jax.lax.map(one, counts)

    value = of_resamples(arrays, where, jnp.ones((1, num_episodes)))[0]
    low, high = episode_interval(lambda counts: of_resamples(arrays, where, counts), num_episodes)
    return Estimate(float(value), low, high, PERCENTILES)


def _logged(dataset: data.Dataset, discount: float) -> Estimate:
    """What those who acted earned."""
    to_go = data.returns_to_go(dataset, discount=discount)
    returns = np.asarray(to_go[dataset.episode_start], np.float64)
    low, high = episode_interval(lambda counts: counts @ returns / len(returns), len(returns))
    return Estimate(float(returns.mean()), low, high, PERCENTILES)


def _replicated(value: float, *replicates: float) -> Estimate:
    """An estimate, and its interval by the spread of its bootstrap replicates, few as they are."""
    count = len(replicates)
    half = stats.t.ppf(0.975, count - 1) * np.std(replicates, ddof=1) if count > 1 else math.nan
    kind = f"Student's t, by {count} bootstrap replicates of the episodes"
    return Estimate(float(value), float(value - half), float(value + half), kind)


def _bootstrap_counts(num_episodes: int, members: int, seed: int) -> Float[np.ndarray, "member episode"]:
    """How often each member has each episode: the first has all of them once."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_episodes, np.full(num_episodes, 1 / num_episodes), size=members)
    return np.concatenate([np.ones((1, num_episodes)), drawn]).astype(np.float32)


def _policy(learner: Learner, learner_state: PyTree, stochastic: bool) -> fqe.EvaluatedPolicy:
    if stochastic:
        return lambda observation, key: learner.act(learner_state, observation, key)[0]
    return lambda observation, key: learner.mode(learner_state, observation)


def _has_density(learner: Learner, learner_state: PyTree, dataset: data.Dataset) -> bool:
    """Whether the exploring policy gives its actions a density: a deterministic network gives none."""
    if learner.log_prob is None:
        return False
    try:
        jax.eval_shape(learner.log_prob, learner_state, dataset.observation[:1], dataset.action[:1])
    except ValueError:
        return False
    return True


def _critic(dataset: data.Dataset, action_space: gymnasium.Space, sizes: tuple[int, ...], num: int) -> policies.Network:
    """An ensemble of action values of raw observations, and of actions of either kind."""
    network = policies.action_critic(sizes, num=num, num_actions=discrete.num_actions(action_space))
    return _seeing_normalized(network, dataset)


def _seeing_normalized(network: policies.Network, dataset: data.Dataset) -> policies.Network:
    """A network that sees observations in units of the dataset's standard deviation."""
    _, mean, scale = data.normalize_states(jnp.asarray(dataset.observation, float))
    seen = lambda observation: (observation - mean) / scale
    return policies.Network(
        init=lambda key, observation, *others: network.init(key, seen(observation), *others),
        apply=lambda params, observation, *others: network.apply(params, seen(observation), *others),
    )


def _train(
    learner: Learner,
    rows: PyTree,
    sampler: Callable,
    key: Array,
    steps: int,
    what: str,
    fitting: Fitting,
    report: Report,
) -> PyTree:
    """The state of a learner after so many gradient steps on a dataset, rounded up to whole calls."""
    each = min(fitting.updates_per_call, steps)

    def program(rows: PyTree):
        source = sources.dataset(rows, learner, batch_size=fitting.batch_size, updates_per_step=each, sampler=sampler)
        return make_program(source, learner)

    state = jax.jit(lambda rows, key: program(rows).init(key))(rows, key)
    step = jax.jit(lambda rows, state: program(rows).step(state), donate_argnums=1)
    calls = -(-steps // each)
    for call in range(calls):
        report(what, call * each, calls * each)
        # Without the wait calls are queued, and the report says what is still to come.
        state, _ = jax.block_until_ready(step(rows, state))
    report(what, calls * each, calls * each)
    return state.learner


def _by_rows(function: Callable[..., Array], *rows: Array) -> Array:
    """A function of many rows, `[..., row]`, computed from some of them at a time."""
    size = min(ROWS_AT_ONCE, len(rows[0]))
    pad = -len(rows[0]) % size
    parts = [jnp.concatenate([x, jnp.broadcast_to(x[:1], (pad, *x.shape[1:]))]) for x in rows]
    parts = [x.reshape(-1, size, *x.shape[1:]) for x in parts]
    found = jax.jit(lambda parts: jax.lax.map(lambda part: function(*part), parts))(parts)
    found = jnp.moveaxis(found, 0, -2)
    return found.reshape(*found.shape[:-2], -1)[..., : len(rows[0])]


def _by_episode(dataset: data.Dataset) -> _Steps:
    """Which row is which step of which episode `[episode, time]`."""
    time = jnp.arange(int(jnp.max(dataset.episode_length)))
    index = dataset.episode_start[:, None] + time
    where = time < dataset.episode_length[:, None]
    return _Steps(jnp.where(where, index, 0), where)
