"""Bounds on what a representation knows about another variable."""

import jax.numpy as jnp
from jax.nn import logsumexp
from jaxtyping import Array, Bool, Float

from rlx.types import check_broadcast, check_mask, floating


def contrastive_mutual_information(
    positive: Float[Array, "*#batch"],
    negative: Float[Array, "..."],
    *,
    log_weight: Float[Array, "..."] | None = None,
    axis: int = -1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Contrastive estimate of a mutual information (InfoNCE), to constrain a future-conditioned policy (DoC).

    L = −f(x, z) + logsumexp_j(f(x_j, z) + log w_j), with an energy f of what happened (x = reward and next state)
    and a latent z of the future, and x_j from the marginal. Trained in f, its negative is a lower bound of
    I(x; z), up to log n for n unweighted negatives; added to the loss of the encoder of z it makes z forget what
    the policy does not control. A constant f gives 0 where the weights sum to 1.

    Args:
        positive: f(x, z) of the pair that occurred together [*batch]; carries the gradient.
        negative: f(x_j, z) of other x [*batch, negative]; carries the gradient.
        log_weight: log w of each negative, [negative] or [*batch, negative], such as the log-probabilities of all
            rewards; 0 if None, as for negatives from the batch, the positive among them.
        axis: static; the axis of the negatives.
        where: boolean mask [*batch], True where an element counts.

    Returns:
        Loss per element [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import representation
        >>> positive, negative = jnp.array([3.0, 1.0]), jnp.array([[3.0, 0.0], [1.0, 1.0]])
        >>> log_weight = jnp.log(jnp.array([0.5, 0.5]))
        >>> loss = representation.contrastive_mutual_information(positive, negative, log_weight=log_weight)
        >>> print(np.asarray(loss).round(3))
        [-0.645  0.   ]

    References:
        Yang et al., 2022, "Dichotomy of Control: Separating What You Can Control from What You Cannot",
        arXiv:2210.13435.
        van den Oord et al., 2018, "Representation Learning with Contrastive Predictive Coding", arXiv:1807.03748
        (without weights).
    """
    check_mask(where)
    positive, negative, log_weight = floating(
        positive=positive, negative=negative, log_weight=0.0 if log_weight is None else log_weight
    )
    across = lambda x: x if x is None else jnp.expand_dims(x, axis)
    check_broadcast(positive=across(positive), negative=negative, log_weight=log_weight, where=across(where))
    if where is not None:
        positive = jnp.where(where, positive, 0)
        negative, log_weight = (jnp.where(across(where), x, 0) for x in (negative, log_weight))
    loss = logsumexp(negative + log_weight, axis) - positive
    return loss if where is None else jnp.where(where, loss, 0)
