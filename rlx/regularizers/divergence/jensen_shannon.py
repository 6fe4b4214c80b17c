"""Divergences between the distributions of a student and a teacher, per token."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, elements, like


def generalized_jsd(
    logits: Float[Array, "..."],
    target_logits: Float[Array, "..."],
    *,
    beta: Scalar = 0.5,
    temperature: Scalar = 1.0,
) -> Float[Array, "..."]:
    """Generalized Jensen-Shannon divergence, between forward and reverse KL; of distillation (GKD).

    With p = softmax(target_logits/T), q = softmax(logits/T), M = β·p + (1 − β)·q,
    D = β·KL(p ‖ M) + (1 − β)·KL(q ‖ M). β = 0 is defined as KL(p ‖ q) and β = 1 as KL(q ‖ p), the limits of
    D/β and D/(1 − β); near them D itself goes to 0. On-policy distillation averages D over the tokens of
    sequences that the student drew, without a gradient through the drawing.

    Args:
        logits: the student's logits [*batch, vocabulary]; carries the gradient.
        target_logits: the teacher's; a constant.
        beta: β in [0, 1], the teacher's share in the mixture; 0.5 is the symmetric divergence, at most log 2.
        temperature: T, common to both.

    Returns:
        Divergence [*batch] in nats, without the factor T².

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> logits, target_logits = jnp.array([[9.0, -9.0], [1.0, 2.0]]), jnp.array([[-9.0, 9.0], [1.0, 2.0]])
        >>> print(np.asarray(divergence.generalized_jsd(logits, target_logits)).round(3))
        [0.693 0.   ]

    References:
        Agarwal et al., 2023, "On-Policy Distillation of Language Models: Learning from Self-Generated
        Mistakes", arXiv:2306.13649.
    """
    logits, target_logits = elements(logits=logits, target_logits=target_logits)
    beta, temperature = like(logits, beta, temperature)
    return _divergence(logits / temperature, lax.stop_gradient(target_logits) / temperature, beta)


@jax.checkpoint  # its intermediates are as large as the logits; it is cheaper to compute them again
def _divergence(logits: Array, target_logits: Array, beta: Array) -> Array:
    # Not log_softmax, whose values would be stored: with two numbers per token all that follows is one pass.
    log_q, log_p = (x - jax.nn.logsumexp(x, -1, keepdims=True) for x in (logits, target_logits))
    excluded = jnp.maximum(log_p, log_q) == -jnp.inf  # where the mixture's gradient would be −inf + inf
    p_term, q_term = (jnp.where(excluded, 0, x) for x in (log_p, log_q))
    log_mixture = jnp.logaddexp(jnp.log(beta) + p_term, jnp.log1p(-beta) + q_term)
    # At an end the mixture is one of the two distributions, whose own term is then 0: only the weights change.
    p_weight, q_weight = jnp.where(beta == 0, 1, beta), jnp.where(beta == 1, 1, 1 - beta)
    return jnp.sum(p_weight * _kl_terms(log_p, log_mixture) + q_weight * _kl_terms(log_q, log_mixture), -1)


def _kl_terms(log_p: Array, log_q: Array) -> Array:
    support = log_p > -jnp.inf
    return jnp.where(support, jnp.exp(log_p) * (jnp.where(support, log_p, 0) - log_q), 0)
