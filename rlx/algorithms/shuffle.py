"""Shuffled minibatches of a rollout, at the price that a training step can afford."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, PRNGKeyArray

from rlx.algorithms.learner import devices_along_env, spread_over_devices


def random_permutation(key: PRNGKeyArray, size: int) -> Int[Array, " size"]:
    """A uniformly random permutation of `0 … size-1`.

    `jax.random.permutation` sorts pairs of key and value, for which XLA has no fast path on a CPU: at 16,384 elements
    it takes ten times as long, a tenth of a PPO update. Here random bits and position share one 32-bit word, and a few
    sorts of single words add up to enough random bits that ties, which keep their order, do not matter (their
    expected number is below one in `sqrt(size)` permutations).

    Args:
        key: random key.
        size: number of elements, at most 2^28 (static).

    Raises:
        ValueError: `size` is out of range.
    """
    if not 1 <= size <= 1 << 28:
        raise ValueError(f"size must be between 1 and 2^28, got {size}")
    position_bits = max((size - 1).bit_length(), 1)
    random_bits = 32 - position_bits
    rounds = math.ceil(2.5 * position_bits / random_bits)
    position = jnp.arange(size, dtype=jnp.uint32)
    permutation = position
    for round_key in jax.random.split(key, rounds):
        words = (jax.random.bits(round_key, (size,)) << position_bits) | position
        order = jnp.sort(words) & jnp.uint32((1 << position_bits) - 1)
        permutation = permutation[order]
    return permutation.astype(jnp.int32)


def shuffle_groups(time: int, env: int, num_minibatches: int) -> int:
    """Groups of environments within which the samples of a rollout are shuffled; it follows from the shapes alone.

    Environments of different groups may lie on different devices without a sample leaving its own, and a minibatch
    has equal shares of all groups, so that a run's numbers do not depend on how many devices there are.

    Args:
        time: steps of the rollout.
        env: its environments.
        num_minibatches: minibatches that its samples are divided into.

    Raises:
        ValueError: the minibatches do not divide the samples.
    """
    if (time * env) % num_minibatches:
        raise ValueError(f"num_minibatches must divide the {time * env} parts of a rollout, got {num_minibatches}")
    return next(n for n in (8, 4, 2, 1) if env % n == 0 and (time * env // n) % num_minibatches == 0)


def minibatch_positions(
    key: PRNGKeyArray, time: int, env: int, *, num_minibatches: int, passes: int
) -> Int[Array, "step group sample"]:
    """Where the samples of each minibatch stand in a rollout `[time, env]`, counted row by row.

    Args:
        key: random key.
        time: steps of the rollout.
        env: its environments.
        num_minibatches: minibatches of a pass.
        passes: how often every sample occurs.

    Returns:
        Positions, `[passes · num_minibatches, group, sample]`.
    """
    groups = shuffle_groups(time, env, num_minibatches)
    width = env // groups
    permute = jax.vmap(lambda key: random_permutation(key, time * width))
    local = permute(jax.random.split(key, passes * groups)).reshape(passes, groups, -1)
    first = width * jnp.arange(groups)[:, None]
    position = local // width * env + first + local % width
    position = position.reshape(passes, groups, num_minibatches, -1).swapaxes(1, 2)
    return position.reshape(passes * num_minibatches, groups, -1)


def taken(x: Array, position: Int[Array, "group sample"]) -> Array:
    """The samples of a rollout `[time, env, ...]` at positions that `minibatch_positions` gave, one after the other.

    Where the environments lie on several devices and whole groups on each, every device takes what it has.
    """
    time, env, *rest = x.shape
    groups, devices = position.shape[0], devices_along_env()
    if devices == 1 or groups % devices:
        return spread_over_devices(jnp.take(x.reshape(time * env, *rest), position.reshape(-1), axis=0))
    width = env // devices
    own = x.reshape(time, devices, width, *rest).swapaxes(0, 1).reshape(devices, time * width, *rest)
    own = jax.lax.with_sharding_constraint(own, P("env"))
    position = position.reshape(devices, -1)
    local = position // env * width + position % env - width * jnp.arange(devices)[:, None]
    found = jax.vmap(lambda mine, index: jnp.take(mine, index, axis=0))(own, local)
    return jax.lax.with_sharding_constraint(found, P("env")).reshape(-1, *rest)
