"""Keeping a run's behavior while its batch size or its number of environments changes."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from rlx.types import Controller, Scalar, check_choice, floating, like


class EwmaState(NamedTuple):
    """The weighted mean of the parameters and the total weight behind it."""

    weight: Float[Array, ""]
    mean: PyTree


def ewma_params(*, decay: Scalar) -> Controller:
    """Exponentially weighted mean of parameters without start-up bias, such as PPO-EWMA's anchor policy.

    W ← decay·W + 1,  p̄ ← p̄ + (p − p̄) / W. The weights' mean age, decay / (1 − decay) updates, is how far
    the anchor trails.

    Args:
        decay: factor in [0, 1) of all earlier weights at each update; 0 keeps the latest parameters.

    Returns:
        A controller: `init(params)` counts them as the first sample, `update(state, params)` gives (mean,
        state).

    Raises:
        ValueError: from init and update, if a parameter is not floating, or the structure is not the state's.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import ewma_params
        >>> controller = ewma_params(decay=0.5)
        >>> state = controller.init(jnp.array([0.0]))
        >>> mean, state = controller.update(state, jnp.array([3.0]))
        >>> mean.tolist()  # the weights are 0.5 and 1
        [2.0]

    References:
        Hilton et al., 2021, "Batch Size-Invariance for Policy Optimization", arXiv:2110.00641.
    """

    def init(params: PyTree) -> EwmaState:
        return EwmaState(weight=jnp.ones((), jnp.float32), mean=jax.tree.map(_parameter, params))

    def update(state: EwmaState, params: PyTree) -> tuple[PyTree, EwmaState]:
        params = lax.stop_gradient(jax.tree.map(_parameter, params))
        (keep,) = like(state.weight, decay)
        weight = keep * state.weight + 1
        mean = jax.tree.map(lambda m, p: m + ((p - m) / weight).astype(m.dtype), state.mean, params)
        return mean, EwmaState(weight, mean)

    return Controller(init, update)


def _parameter(x: Array) -> Array:
    return floating(params=x)[0]


class ParallelScale(NamedTuple):
    """Settings of a PPO cycle: Python numbers, since they are shapes of the program."""

    num_minibatches: int
    minibatch_size: int
    learning_rate_multiplier: float


def scale_parallel_environments(
    num_envs: int,
    *,
    base_num_envs: int,
    num_steps: int,
    num_minibatches: int,
    rule: str = "fixed_minibatch_size",
) -> ParallelScale:
    """How PPO's inner loop changes when the number of parallel environments grows by c.

    With c = num_envs / base_num_envs, "fixed_minibatch_size" keeps minibatch size and learning rate and takes
    c·num_minibatches minibatches; "sqrt" keeps the number of minibatches, and has minibatches c times as
    large and a learning rate √c times as large, which was found to stagnate.

    Args:
        num_envs: static; number of parallel environments wanted.
        base_num_envs: static; number of environments that the other settings were tuned for.
        num_steps: static; steps of each environment in a cycle.
        num_minibatches: static; minibatches of an epoch at `base_num_envs`.
        rule: static; "fixed_minibatch_size" or "sqrt".

    Returns:
        A `ParallelScale` of num_minibatches, minibatch_size (in transitions) and learning_rate_multiplier.

    Raises:
        ValueError: for an unknown `rule`, or if the transitions of a cycle do not divide into the
            minibatches.

    Examples:
        >>> from rlx.controllers import scale_parallel_environments
        >>> scale_parallel_environments(4096, base_num_envs=1024, num_steps=16, num_minibatches=8)
        ParallelScale(num_minibatches=32, minibatch_size=2048, learning_rate_multiplier=1.0)

    References:
        Beukman et al., 2026, "Preventing Learning Stagnation in PPO by Scaling to 1 Million Parallel
        Environments", arXiv:2603.06009.
    """
    check_choice("rule", rule, ("fixed_minibatch_size", "sqrt"))
    growth = num_envs / base_num_envs
    fixed = rule == "fixed_minibatch_size"
    count = max(1, round(num_minibatches * growth)) if fixed else num_minibatches
    transitions = num_envs * num_steps
    size, rest = divmod(transitions, count)
    if rest:
        raise ValueError(
            f"num_envs * num_steps = {transitions} transitions do not divide into {count} minibatches; "
            f"choose num_envs as a multiple of {base_num_envs}, or num_minibatches that divides it"
        )
    return ParallelScale(count, size, 1.0 if fixed else math.sqrt(growth))
