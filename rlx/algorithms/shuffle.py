"""Random permutations for minibatches, at the price that a training step can afford."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray


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
