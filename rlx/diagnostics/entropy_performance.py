"""The law by which performance is bought with entropy. Results carry no gradient."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import elements


def entropy_law(
    entropy: Float[Array, "*#batch"],
    a: Float[Array, "*#batch"] | float,
    b: Float[Array, "*#batch"] | float,
) -> Float[Array, "*batch"]:
    """Performance that a run without entropy control reaches at an entropy.

    R = −a · exp(H) + b. Its ceiling −a + b is reached when the entropy is spent, H = 0.

    Args:
        entropy: policy entropy H in nats [*batch].
        a: what a unit of exp(H) costs in performance, from `fit_entropy_law`.
        b: offset, from `fit_entropy_law`.

    Returns:
        Predicted performance R [*batch], without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import entropy_law
        >>> [round(x, 3) for x in entropy_law(jnp.array([1.0, 0.5, 0.0]), 0.2, 0.9).tolist()]
        [0.356, 0.57, 0.7]

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617.
    """
    entropy, a, b = lax.stop_gradient(elements(entropy=entropy, a=a, b=b))
    return b - a * jnp.exp(entropy)


def fit_entropy_law(
    entropy: Float[Array, "*batch point"], performance: Float[Array, "*batch point"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Coefficients of `entropy_law` by least squares, from the entropies and performances along a run.

    a, b = argmin Σ (R + a · exp(H) − b)², so a = −Cov(exp(H), R) / Var[exp(H)] and b = mean R + a · mean exp(H).
    Where all entropies are equal a = 0.

    Args:
        entropy: policy entropy H in nats at each checkpoint [*batch, point].
        performance: performance R at the same checkpoints [*batch, point].

    Returns:
        (a, b), both [*batch] and without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import entropy_law, fit_entropy_law
        >>> entropy = jnp.array([1.0, 0.5, 0.25])
        >>> [round(float(x), 3) for x in fit_entropy_law(entropy, entropy_law(entropy, 0.2, 0.9))]
        [0.2, 0.9]

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617.
    """
    entropy, performance = lax.stop_gradient(elements(entropy=entropy, performance=performance))
    cost = jnp.exp(entropy)
    mean_cost, mean_performance = (jnp.mean(x, -1, keepdims=True) for x in (cost, performance))
    variance = jnp.sum(jnp.square(cost - mean_cost), -1)
    slope = jnp.sum((cost - mean_cost) * (performance - mean_performance), -1)
    a = -slope / jnp.where(variance > 0, variance, 1)
    return a, mean_performance[..., 0] + a * mean_cost[..., 0]
