"""How one update of a softmax policy changes its entropy. Results carry no gradient."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, elements, like


def entropy_discriminator(
    log_prob: Float[Array, "*#batch"], entropy: Float[Array, "*#batch"]
) -> Float[Array, "*batch"]:
    """Rate at which the entropy falls when the logit of the taken action rises.

    S = p·(H + log p) = −∂H/∂z with p = exp(log_prob) and z the action's logit. Raising the logit of an action
    with p > exp(−H) lowers the entropy, S > 0; of a rarer one it raises the entropy. S = 0 for uniform p.

    Args:
        log_prob: log-probability of the taken action [*batch].
        entropy: entropy H of the same distribution over all actions, in nats; −log_prob will not do for it.

    Returns:
        S of the broadcast shape, without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import entropy_discriminator
        >>> [round(x, 3) for x in entropy_discriminator(jnp.log(jnp.array([0.9, 0.1])), jnp.array(0.3251)).tolist()]
        [0.198, -0.198]

    References:
        Wang et al., 2026, "On the Entropy Dynamics in Reinforcement Fine-Tuning of Large Language Models",
        arXiv:2602.03392.
    """
    log_prob, entropy = lax.stop_gradient(elements(log_prob=log_prob, entropy=entropy))
    # H + log p cancels where p is near 1: bfloat16 would leave nothing of it.
    dtype, wide = log_prob.dtype, jnp.promote_types(log_prob.dtype, jnp.float32)
    log_prob, entropy = log_prob.astype(wide), entropy.astype(wide)
    return (jnp.exp(log_prob) * (entropy + log_prob)).astype(dtype)


def entropy_discriminator_baseline(logits: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Mean of the entropy discriminator over the actions of the policy.

    b = E_{a∼p}[S_a] = Σ_a p_a²·(H + log p_a) with p = softmax(logits).

    Args:
        logits: unnormalized log-probabilities [*batch, action]; −inf for an action that is not available.
        axis: static; the action axis.

    Returns:
        b [*batch], without gradient.

    Raises:
        ValueError: if `logits` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import entropy_discriminator_baseline
        >>> round(float(entropy_discriminator_baseline(jnp.log(jnp.array([0.9, 0.1])))), 3)
        0.158

    References:
        Wang et al., 2026, "On the Entropy Dynamics in Reinforcement Fine-Tuning of Large Language Models",
        arXiv:2602.03392.
    """
    (logits,) = lax.stop_gradient(elements(logits=logits))
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    log_prob = jnp.maximum(jax.nn.log_softmax(wide, axis), jnp.finfo(wide.dtype).min)  # so that 0 · log 0 = 0
    probability = jnp.exp(log_prob)
    entropy = -jnp.sum(probability * log_prob, axis, keepdims=True)
    return jnp.sum(jnp.square(probability) * (entropy + log_prob), axis).astype(logits.dtype)


def entropy_change(
    log_prob: Float[Array, "*#batch"],
    entropy: Float[Array, "*#batch"],
    baseline: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    step_size: Scalar,
) -> Float[Array, "*batch"]:
    """Change of the entropy that a policy-gradient step on the logits of one action predicts.

    ΔH ≈ −η·A·(S − b), to first order in the step Δz = η·A·(e_a − p), with S the `entropy_discriminator` of the
    taken action and b its mean under the policy. With a ratio r in the surrogate, pass r·A.

    Args:
        log_prob: log-probability of the taken action [*batch].
        entropy: entropy H of the same distribution over all actions, in nats.
        baseline: b, from `entropy_discriminator_baseline` of the same logits.
        advantage: advantage A of the taken action.
        step_size: η, the length of the step in logits per unit of advantage.

    Returns:
        ΔH in nats, of the broadcast shape, without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import entropy_change, entropy_discriminator_baseline
        >>> log_prob = jnp.log(jnp.array([0.9, 0.1]))
        >>> entropy, baseline = -jnp.sum(jnp.exp(log_prob) * log_prob), entropy_discriminator_baseline(log_prob)
        >>> [round(x, 4) for x in entropy_change(log_prob, entropy, baseline, jnp.array(1.0), step_size=0.1).tolist()]
        [-0.004, 0.0356]

    References:
        Wang et al., 2026, "On the Entropy Dynamics in Reinforcement Fine-Tuning of Large Language Models",
        arXiv:2602.03392.
    """
    log_prob, entropy, baseline, advantage = lax.stop_gradient(
        elements(log_prob=log_prob, entropy=entropy, baseline=baseline, advantage=advantage)
    )
    (step_size,) = lax.stop_gradient(like(log_prob, step_size))
    return -step_size * advantage * (entropy_discriminator(log_prob, entropy) - baseline)
