"""Critics whose value is a probability of success."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import elements


def bernoulli_value(
    logit: Float[Array, "*#batch"],
    success_rate: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Critic of step-level DAPO: cross-entropy of a value in (0, 1) against the share of completions that succeeded.

    With V = σ(logit): L = −y·log V − (1 − y)·log(1 − V). Its minimum lies at V = y, where it is the entropy of
    y, and the gradient is V − y: unlike that of the squared error it does not vanish where V is certain and
    wrong. On a CPU its exponential and logarithm cost several times the memory traffic.

    Args:
        logit: log-odds of success from each state [*batch]; carries the gradient.
        success_rate: share y in [0, 1] of completions from the state that succeeded; a constant.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element in nats, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import value
        >>> logit, success_rate = jnp.array([0.0, 0.0, 4.0]), jnp.array([0.75, 1.0, 0.0])
        >>> print(np.asarray(value.bernoulli_value(logit, success_rate)).round(3))
        [0.693 0.693 4.018]
        >>> print(np.asarray(jax.grad(lambda x: value.bernoulli_value(x, success_rate).sum())(logit)).round(3))
        [-0.25  -0.5    0.982]

    References:
        Liu et al., 2024, "Improving Multi-Step Reasoning Abilities of Large Language Models with Direct
        Advantage-Based Policy Optimization", arXiv:2412.18279 (equation 15).
    """
    logit, success_rate = elements(logit=logit, success_rate=success_rate, where=where)
    success_rate = lax.stop_gradient(success_rate)
    # One logarithm for both classes; what stands apart from it cancels exactly where V is certain and right. Not
    # |logit|, whose slope at 0 is that of one side.
    loss = jnp.log1p(jnp.exp(-logit * jnp.sign(logit))) + (jnp.maximum(logit, 0) - success_rate * logit)
    return loss if where is None else jnp.where(where, loss, 0)
