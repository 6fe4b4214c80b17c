"""Next-token prediction as a policy gradient on rewards over the vocabulary."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import Scalar, check_broadcast, check_mask, floating, like


def shaped_cross_entropy(
    logits: Float[Array, "*batch vocabulary"],
    action: Int[Array, "*batch"],
    *,
    positive_exponent: Scalar = -0.25,
    head_reward: Scalar = 0.0,
    tail_reward: Scalar = 0.0,
    top_k: int = 100,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Cross-entropy whose gradient rewards tokens: precision for the true one, diversity among the others.

    With π = softmax(logits), x the true token and K the top_k most probable ones, both held constant,
    L = −[sg((1 − π_x)^positive_exponent)·log π_x + head_reward·Σ_{a∈K, a≠x} π_a + tail_reward·Σ_{a∉K, a≠x} π_a].
    Its gradient is the exact policy gradient of one step with the reward (1 − π_x)^positive_exponent / π_x of x and
    those of the others; its value is not meant to be compared. Exponent 0 and rewards 0 give the cross-entropy.
    The search for the top_k makes it dearer than the cross-entropy, whatever the rewards.

    Args:
        logits: unnormalized log-probabilities [*batch, vocabulary]; carries the gradient.
        action: index of the true token [*batch].
        positive_exponent: below 0 the weight of x grows with its probability, above 0 it falls as in the focal loss.
            1 − π_x is at least 1e-6.
        head_reward: reward of the wrong tokens in K; the paper also uses 0.1.
        tail_reward: reward of the wrong tokens outside K; the paper also uses −0.1.
        top_k: static; size of K. All tokens where it is the size of the vocabulary or more.
        where: boolean mask [*batch], True where a token counts.

    Returns:
        Loss per token [*batch], 0 where masked.

    Raises:
        ValueError: for non-floating `logits`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import imitation
        >>> logits, token = jnp.log(jnp.array([0.5, 0.3, 0.2])), jnp.array(0)
        >>> loss = lambda x, tail_reward: imitation.shaped_cross_entropy(
        ...     x, token, positive_exponent=0.0, tail_reward=tail_reward, top_k=2
        ... )
        >>> print(np.asarray(jax.grad(loss)(logits, 0.0)).round(3), np.asarray(jax.grad(loss)(logits, -0.5)).round(3))
        [-0.5  0.3  0.2] [-0.55  0.27  0.28]

    References:
        Wu et al., 2025, "Diversity or Precision? A Deep Dive into Next Token Prediction", arXiv:2512.22955
        (equations 10 to 13).
    """
    check_mask(where)
    (logits,) = floating(logits=logits)
    vocabulary = logits.shape[-1]
    check_broadcast(logits=logits[..., 0], action=action, where=where)
    kept = lambda x: x if where is None else jnp.where(where[..., None], x, 0)
    # Sums over a vocabulary need float32; the cast of bfloat16 logits fuses into them, and so does the mask.
    wide = kept(logits).astype(jnp.promote_types(logits.dtype, jnp.float32))
    exponent, head_reward, tail_reward = like(wide, positive_exponent, head_reward, tail_reward)
    log_normalizer = jax.nn.logsumexp(wide, -1)
    # A comparison fuses with the sum, where a gather would add its own buffer to the gradient.
    is_true = jnp.arange(vocabulary) == action[..., None]
    log_prob = jnp.sum(jnp.where(is_true, wide, 0), -1) - log_normalizer
    wrong = -jnp.expm1(log_prob)
    top, index = lax.top_k(logits, min(top_k, vocabulary))
    head_prob = jnp.exp(kept(top).astype(wide.dtype) - log_normalizer[..., None])
    head = jnp.sum(jnp.where(index == action[..., None], 0, head_prob), -1)
    weight = lax.stop_gradient(jnp.maximum(wrong, 1e-6) ** exponent)
    loss = -(weight * log_prob + (head_reward - tail_reward) * head + tail_reward * wrong)
    return (loss if where is None else jnp.where(where, loss, 0)).astype(logits.dtype)
