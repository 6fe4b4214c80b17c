"""Rewards for saying it in fewer tokens."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, floating, like


def history_length(
    length: Float[Array, "*#batch"],
    history: Float[Array, "*#batch"],
    correct: Bool[Array, "*#batch"],
    *,
    floor: Scalar = -0.7,
    coefficient: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Bonus for a response shorter than the shortest correct one so far to its prompt, malus for a longer one (HAPO).

    With f = cos(min(π/2 · length/history, π)), which is 1 at length 0, 0 at length = history and −1 from twice
    that on: R = coefficient·max(f, floor) where correct, coefficient·min(f, 0) where not. It is added to the
    reward of correctness; with coefficient 1 and a floor above −1 every correct response then outranks every
    wrong one, and a short wrong one is not punished for its length.

    Args:
        length: length of the response in tokens, without padding [*batch].
        history: shortest correct length known before this batch, from `rlx.controllers.best_length`;
            `jnp.inf` for a prompt never solved.
        correct: whether the response is correct.
        floor: lowest reward of a correct response.
        coefficient: scale of the reward.

    Returns:
        Reward per element, without gradient, 0 where the prompt was never solved.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> length, history = jnp.array([50.0, 100.0, 200.0]), jnp.array(100.0)
        >>> print(np.asarray(rewards.history_length(length, history, jnp.array(True))).round(3))
        [ 0.707  0.    -0.7  ]
        >>> print(np.asarray(rewards.history_length(length, history, jnp.array(False))).round(3))
        [ 0.  0. -1.]

    References:
        Huang et al., 2025, "HAPO: Training Language Models to Reason Concisely via History-Aware Policy
        Optimization", arXiv:2505.11225.
    """
    check_broadcast(length=length, history=history, correct=correct)
    length, history = lax.stop_gradient(floating(length=length, history=history))
    floor, coefficient = like(length, floor, coefficient)
    known = jnp.isfinite(history) & (history > 0)
    ratio = jnp.minimum(length / jnp.where(known, history, 1), 2)
    # sin(π/2·(1 − x)) = cos(π/2·x), and exactly 0 at x = 1, where a rounded cosine has a sign.
    brevity = jnp.sin(jnp.pi / 2 * (1 - ratio))
    reward = jnp.where(correct, jnp.maximum(brevity, floor), jnp.minimum(brevity, 0))
    return coefficient * jnp.where(known, reward, 0)
