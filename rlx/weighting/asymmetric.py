"""Weights that treat right and wrong responses differently. Results are constants."""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Real

from rlx.reduce import mean
from rlx.types import Scalar, check_broadcast, check_mask, elements, like


def difficulty_kl_weight(
    advantage: Float[Array, "*#batch"], success_rate: Float[Array, "*#batch"], *, rate: Scalar = math.e
) -> Float[Array, "*batch"]:
    """Weight of a response's KL penalty, small for right answers to hard prompts (DADS).

    w = 1 − exp(−rate·success_rate) where A > 0 and 0 < success_rate < 1, otherwise w = 1. On a CPU the exponential
    costs more than the memory traffic.

    Args:
        advantage: advantage A of the response [*batch]; one per prompt and response.
        success_rate: share of right answers in the response's group, in [0, 1].
        rate: how fast the weight rises with the success rate.

    Returns:
        Weights of the broadcast shape in (0, 1], without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> advantage, success_rate = jnp.array([1.0, 1.0, -1.0]), jnp.array([0.1, 0.9, 0.1])
        >>> print(np.asarray(weighting.difficulty_kl_weight(advantage, success_rate)).round(3))
        [0.238 0.913 1.   ]

    References:
        Hong et al., 2025, "Enhancing Reasoning Ability of MLLMs via Asymmetric Policy Optimization",
        arXiv:2506.21655.
    """
    advantage, success_rate = lax.stop_gradient(elements(advantage=advantage, success_rate=success_rate))
    (rate,) = lax.stop_gradient(like(advantage, rate))
    solved_at_times = (success_rate > 0) & (success_rate < 1)
    return jnp.where((advantage > 0) & solved_at_times, -jnp.expm1(-rate * success_rate), 1)


def excess_length_weight(
    length: Real[Array, "*#batch"],
    correct: Bool[Array, "*#batch"],
    *,
    base: Scalar = 1.00001,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Float[Array, "*batch"]:
    """Weight of a response's advantage, larger for wrong answers longer than the right ones (STCR).

    w = 2 − base^{−(L − L₊)} for a wrong response with L > L₊, the mean length of the right responses of its
    group, otherwise w = 1; so also where no response of the group is right. 1 ≤ w < 2.

    Args:
        length: length L of each response in tokens [*batch, group], integers or floats.
        correct: whether the response is right.
        base: above 1; how fast the weight grows with the excess.
        where: boolean mask, True where a response counts.
        axis: static; the group axis.

    Returns:
        Weights of the broadcast shape, without gradient, 0 where masked; float32 for integer lengths.

    Raises:
        ValueError: for a non-boolean `correct` or `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> length, correct = jnp.array([100, 300, 50]), jnp.array([True, False, False])
        >>> print(np.asarray(weighting.excess_length_weight(length, correct, base=1.01)).round(3))
        [1.    1.863 1.   ]

    References:
        Hong et al., 2025, "Enhancing Reasoning Ability of MLLMs via Asymmetric Policy Optimization",
        arXiv:2506.21655.
    """
    if correct.dtype != jnp.bool_:
        raise ValueError(f"correct must be a boolean array, got dtype {correct.dtype}; compare it first")
    check_mask(where)
    shape = check_broadcast(length=length, correct=correct, where=where)
    dtype = jnp.result_type(length, jnp.float32) if jnp.issubdtype(length.dtype, jnp.integer) else length.dtype
    # At least float32: bfloat16 knows no odd number above 256.
    wide = jnp.promote_types(dtype, jnp.float32)
    valid = jnp.broadcast_to(True if where is None else where, shape)
    length = lax.stop_gradient(jnp.where(valid, length.astype(wide), 0))
    right = valid & correct
    excess = length - jnp.expand_dims(mean(length, where=right, axis=axis), axis)
    # From base − 1, which a float32 base near 1 would have rounded; small powers by expm1.
    (growth,) = lax.stop_gradient(like(length, base - 1))
    weight = 1 - jnp.expm1(-jnp.maximum(excess, 0) * jnp.log1p(growth))
    longer = valid & ~correct & jnp.any(right, axis, keepdims=True)
    return jnp.where(longer, weight, valid.astype(wide)).astype(dtype)
