"""Group-relative policy optimization of a tabular policy, with the slots that the papers fill.

train = make_train(problem, TabularMethod(), num_updates=200)
curves = jax.jit(jax.vmap(train))(keys, learning_rates)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from experiments.claims import problems
from experiments.claims.problems import Problem
from experiments.claims.tuning import Setting, choose
from rlx.algorithms.grpo import group_advantage, token_loss
from rlx.regularizers import entropy as entropies


class TabularBatch(NamedTuple):
    """What a loss may use. Arrays along tokens are `[prompt, group, time]`, those of sequences `[prompt, group]`.

    Attributes:
        state: states of the policy's table.
        token: sampled tokens.
        reward: of sequences.
        advantage: of tokens.
        logits: of the policy in training, at every state of the batch, as are the two below.
        behavior_logits: of the policy that sampled.
        reference_logits: of the initial policy.
        table: the logits that sampled, of all states, to sample more with.
        log_prob: of the sampled tokens under the policy in training, and so on.
        where: True where a token counts.
        key: of this gradient step.
        update: updates done before.
        memory: the method's state.
    """

    state: Int[Array, "prompt group time"]
    token: Int[Array, "prompt group time"]
    reward: Float[Array, "prompt group"]
    advantage: Float[Array, "prompt group time"]
    logits: Float[Array, "prompt group time token"]
    behavior_logits: Float[Array, "prompt group time token"]
    reference_logits: Float[Array, "prompt group time token"]
    table: Float[Array, "state token"]
    log_prob: Float[Array, "prompt group time"]
    behavior_log_prob: Float[Array, "prompt group time"]
    reference_log_prob: Float[Array, "prompt group time"]
    where: Bool[Array, "prompt group time"]
    key: PRNGKeyArray
    update: Int[Array, ""]
    memory: PyTree

    @property
    def entropy(self) -> Float[Array, "prompt group time"]:
        """Entropy of the policy in training at each token, with its gradient."""
        return entropies.categorical_entropy(self.logits)


class TabularMethod(NamedTuple):
    """The slots of an update; the defaults are GRPO's.

    Attributes:
        advantage: from the sampled batch (before any step, `log_prob` being the behavior's) to advantages of tokens.
        loss: the scalar that an inner step descends.
        memory: the method's state at the start: a function of the problem.
        remember: from the sampled batch, with advantages, to the batch that the inner steps see, its memory updated.
        behavior: the logits to sample with, from the policy's and the memory; a temperature goes here.
        optimizer: from the learning rate to the optimizer.
    """

    advantage: Callable[[TabularBatch], Array] = group_advantage
    loss: Callable[[TabularBatch], Array] = token_loss
    memory: Callable[[Problem], PyTree] = lambda problem: ()
    remember: Callable[[TabularBatch], TabularBatch] = lambda batch: batch
    behavior: Callable[[Array, PyTree], Array] = lambda logits, memory: logits
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.adam


# Settings are chosen on seeds that a claim is not judged by.
TUNING_SEEDS = 10_000

Train = Callable[..., dict[str, Float[Array, " update"]]]


def make_train(
    problem: Problem,
    method: TabularMethod,
    *,
    num_updates: int = 200,
    group: int = 8,
    inner_steps: int = 4,
    staleness: int = 0,
    measures: Callable[[TabularBatch, Array], dict[str, Array]] = lambda batch, logits: {},
) -> Train:
    """A training run as one pure function, to be jitted and vmapped.

    Args:
        problem: the task.
        method: what is optimized.
        num_updates: batches that are sampled.
        group: sequences for each prompt.
        inner_steps: gradient steps on each batch.
        staleness: updates by which the sampling policy lags behind.
        measures: more to record, of the batch after its last inner step and of the logits then.

    Returns:
        `train(key, learning_rate) -> curves`, each `[update]`: the exact measures of `problems.evaluate` after
        the update, and of the batch: `sampled_reward`, `gradient_norm` (largest of the inner steps),
        `log_ratio_max` (largest, in absolute value) and `mixed_groups` (share of groups whose rewards differ).
    """

    def gathered(batch: TabularBatch, logits: Array) -> TabularBatch:
        own = logits[batch.state]
        return batch._replace(logits=own, log_prob=_log_prob(own, batch.token))

    def train(key: PRNGKeyArray, learning_rate: Any) -> dict[str, Float[Array, " update"]]:
        optimizer = method.optimizer(learning_rate)

        def update(carry, index_and_key):
            history, optimizer_state, memory = carry
            index, key = index_and_key
            logits = history[0]
            sample_key, step_key, memory_key = jax.random.split(key, 3)
            behavior = method.behavior(history[-1], memory)
            rollout = problems.sample(problem, behavior, sample_key, group)
            log_prob = lambda table: _log_prob(table[rollout.state], rollout.token)
            batch = TabularBatch(
                state=rollout.state,
                token=rollout.token,
                reward=rollout.reward,
                advantage=jnp.zeros(rollout.token.shape),
                logits=logits[rollout.state],
                behavior_logits=behavior[rollout.state],
                reference_logits=problem.logits[rollout.state],
                table=behavior,
                log_prob=log_prob(logits),
                behavior_log_prob=log_prob(behavior),
                reference_log_prob=log_prob(problem.logits),
                where=jnp.ones(rollout.token.shape, bool),
                key=memory_key,
                update=index,
                memory=memory,
            )
            batch = method.remember(batch._replace(advantage=method.advantage(batch)))

            def inner(carry, key):
                logits, optimizer_state = carry
                loss = lambda logits: method.loss(gathered(batch._replace(key=key), logits))
                gradient = jax.grad(loss)(logits)
                updates, optimizer_state = optimizer.update(gradient, optimizer_state, logits)
                return (optax.apply_updates(logits, updates), optimizer_state), optax.tree.norm(gradient)

            (logits, optimizer_state), norms = jax.lax.scan(
                inner, (logits, optimizer_state), jax.random.split(step_key, inner_steps)
            )
            after = gathered(batch, logits)
            varies = jnp.max(batch.reward, -1) > jnp.min(batch.reward, -1)
            curves = problems.evaluate(problem, logits) | {
                "sampled_reward": jnp.mean(batch.reward),
                "gradient_norm": jnp.max(norms),
                "log_ratio_max": jnp.max(jnp.abs(after.log_prob - after.behavior_log_prob)),
                "mixed_groups": jnp.mean(varies),
            }
            history = jnp.concatenate([logits[None], history[:-1]])
            return (history, optimizer_state, batch.memory), curves | measures(after, logits)

        history = jnp.broadcast_to(problem.logits, (staleness + 1, *problem.logits.shape))
        carry = (history, optimizer.init(problem.logits), method.memory(problem))
        _, curves = jax.lax.scan(update, carry, (jnp.arange(num_updates), jax.random.split(key, num_updates)))
        return curves

    return train


class Tuned(NamedTuple):
    """Curves `[seed, update]` by name, and the learning rate and the numbers beside it that gave them."""

    curves: dict[str, np.ndarray]
    learning_rate: float
    numbers: Mapping[str, float] = {}


class Choices(NamedTuple):
    """A number that is chosen together with the learning rate: what is tried first, and all its values."""

    first: tuple[float, ...]
    ladder: tuple[float, ...]


NAME = "learning rate"
LEARNING_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""What tuning begins with."""
LADDER = (1e-4, 3e-4, 1e-3, 3e-3, *LEARNING_RATES)
"""All learning rates. Adam moves a logit by about the rate in a step: at 1e-4 the 800 steps of a run move it by less
than 0.1 nats, and at 1 the first step on a batch takes a token's ratio to e, beyond the reach of any trust region. (Of
six runs at 30, whose policies a single step makes deterministic, all may happen to be right.)"""


def tune_and_train(
    train: Train,
    *,
    num_seeds: int,
    learning_rates: Sequence[float] = LEARNING_RATES,
    numbers: Mapping[str, Choices] = {},
    score: Callable[[dict[str, np.ndarray]], np.ndarray] = lambda curves: curves["success"][:, -20:].mean(-1),
    statistic: Callable[[np.ndarray], Any] = np.mean,
) -> Tuned:
    """Choose the learning rate on seeds of its own, and train with it on others.

    Baseline and method go through here alike.

    Args:
        train: as `make_train` returns it; where there are `numbers` they are its third argument.
        num_seeds: seeds of the comparison; tuning takes as many runs in all, a share for each of up to five settings,
            and again as many each time that the best has the lowest or the highest value that was tried.
        learning_rates: neighbors on the ladder that are tried first; one alone is taken as it is.
        numbers: by name, what else is chosen, in all combinations.
        score: what is tuned for, `[run]`, from curves `[run, update]`: the final success by default.
        statistic: of the scores of a setting. The mean by default, and not an interquartile mean, since runs that
            settle on a wrong string are what many of the papers want to prevent.
    """
    firsts = {NAME: learning_rates} | {name: of.first for name, of in numbers.items()}
    ladders = {NAME: LADDER} | {name: of.ladder for name, of in numbers.items()}
    settings = [dict(zip(firsts, values, strict=True)) for values in itertools.product(*firsts.values())]
    # The same number of runs each time, so that one program serves.
    at_once = min(len(settings), len(LEARNING_RATES))
    runs = max(num_seeds, at_once)
    program = jax.jit(jax.vmap(train))

    def curves_of(seeds: np.ndarray, of_runs: Sequence[Setting]) -> dict[str, np.ndarray]:
        keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        values = {name: jnp.asarray([setting[name] for setting in of_runs], jnp.float32) for name in firsts}
        rest = ({name: values[name] for name in numbers},) if numbers else ()
        return jax.tree.map(np.asarray, program(keys, values[NAME], *rest))

    def side_by_side(some: Sequence[Setting]) -> list[np.ndarray]:
        each = runs // len(some)
        of_runs = [setting for setting in some for _ in range(each)]
        seeds = TUNING_SEEDS + np.resize(np.arange(each), runs)
        scores = score(curves_of(seeds, [of_runs[i % len(of_runs)] for i in range(runs)]))
        return list(scores[: len(of_runs)].reshape(len(some), each))

    def scores_of(tried: Sequence[Setting]) -> list[np.ndarray]:
        parts = [tried[i : i + at_once] for i in range(0, len(tried), at_once)]
        return [scores for some in parts for scores in side_by_side(some)]

    free = {name: ladder for name, ladder in ladders.items() if len(firsts[name]) > 1}
    best = choose(settings, free, scores_of, at_once=4, statistic=statistic)
    curves = curves_of(np.arange(runs), [best] * runs)
    return Tuned(
        {name: curve[:num_seeds] for name, curve in curves.items()},
        float(best[NAME]),
        {name: float(best[name]) for name in numbers},
    )


def _log_prob(logits: Array, token: Array) -> Array:
    return jnp.take_along_axis(jax.nn.log_softmax(logits), token[..., None], axis=-1)[..., 0]
