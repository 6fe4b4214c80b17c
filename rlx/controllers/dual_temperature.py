"""Temperatures of maximum-entropy policies, trained as the dual variable of an entropy constraint."""

from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like


def entropy_temperature_loss(
    log_temperature: Float[Array, "*#batch"],
    log_prob: Float[Array, "*#batch"],
    *,
    target_entropy: Scalar,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """SAC's loss of its temperature, which rises while the entropy of the policy is too small.

    L = −log α · sg(log π(a|s) + H̄). Its gradient in log α is the excess of the entropy over H̄, in the mean over
    the policy's own actions. The first paper's form has α in place of log α: the same sign, steps of another size.

    Args:
        log_temperature: log α, a scalar or [*batch]; carries the gradient.
        log_prob: log π(a|s) of actions sampled from the policy [*batch]; a constant.
        target_entropy: H̄ in nats; −|A|, minus the number of action dimensions, for squashed Gaussians.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, to be averaged, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import entropy_temperature_loss
        >>> slope = jax.grad(entropy_temperature_loss)(jnp.array(0.0), jnp.array(-0.5), target_entropy=-1.0)
        >>> float(slope)  # an entropy of 0.5 exceeds the target by 1.5, so descent lowers the temperature
        1.5

    References:
        Haarnoja et al., 2018, "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905.
    """
    log_temperature, log_prob = elements(log_temperature=log_temperature, log_prob=log_prob, where=where)
    (target_entropy,) = like(log_prob, target_entropy)
    return -log_temperature * lax.stop_gradient(log_prob + target_entropy)
