"""Masks that drop the tokens whose update would move the entropy too far."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.diagnostics.entropy_dynamics import entropy_discriminator
from rlx.reduce import mean
from rlx.types import Scalar, elements, like
from rlx.weighting.selection import extreme_mask


def entropy_discriminator_mask(
    log_prob: Float[Array, "*#batch"],
    entropy: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    threshold: Scalar = 2.5,
    baseline: Float[Array, "*#batch"] | None = None,
    max_fraction: Scalar | None = None,
    where: Bool[Array, "*#batch"] | None = None,
) -> Bool[Array, "*batch"]:
    """Mask without the punished tokens that would change the entropy by far more than the others (Clip_B, Clip_V).

    With S = p·(H + log p) of `rlx.diagnostics.entropy_discriminator`, z = S − mean S (Clip_B) or z = S − baseline
    (Clip_V), and σ the population standard deviation of z over all valid tokens,
    mask = m and not (A < 0 and z < −threshold·σ). All are kept for σ < 1e-12. With max_fraction only that share
    of the valid tokens, but at least one, is dropped, the lowest z first.

    A dropped token leaves both the sum and the count of a token mean: pass the result on as `where`, after the
    advantages have been normalized. Mean and deviation are passes of their own over the tokens.

    Args:
        log_prob: log π(a|s) of the taken tokens [*batch], under the policy that the update starts from.
        entropy: entropy H of the same policy at each token, over the whole vocabulary.
        advantage: advantage A of each token.
        threshold: how many standard deviations z may lie below 0; 2 to 3 for Clip_B, 7.5 to 8.5 for Clip_V.
        baseline: `rlx.diagnostics.entropy_discriminator_baseline` of each token for Clip_V; None for Clip_B.
        max_fraction: largest share of tokens to drop, 1e-4 in Clip_V's code; None for any number.
        where: boolean mask m, True where a token counts.

    Returns:
        Boolean mask of the broadcast shape, True where a token is kept, False where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> log_prob, entropy = jnp.log(jnp.array([0.9, 0.9, 0.9, 0.3])), jnp.array([0.3, 0.3, 0.3, 0.3])
        >>> punished = -jnp.ones(4)
        >>> print(weighting.entropy_discriminator_mask(log_prob, entropy, punished, threshold=1.0))
        [ True  True  True False]
        >>> print(weighting.entropy_discriminator_mask(log_prob, entropy, -punished, threshold=1.0))
        [ True  True  True  True]

    References:
        Wang et al., 2026, "On the Entropy Dynamics in Reinforcement Fine-Tuning of Large Language Models",
        arXiv:2602.03392 (as in the official code, agentscope-ai/Trinity-RFT).
    """
    wide = jnp.promote_types(jnp.result_type(log_prob, entropy), jnp.float32)
    arrays = {"log_prob": log_prob, "entropy": entropy, "advantage": advantage}
    arrays |= {} if baseline is None else {"baseline": baseline}
    log_prob, entropy, advantage, *centers = lax.stop_gradient(elements(**arrays, where=where))
    discriminator = entropy_discriminator(log_prob.astype(wide), entropy.astype(wide))
    average = lambda x: mean(x, where=where)
    mask = jnp.broadcast_to(True if where is None else where, discriminator.shape)
    z = discriminator - (centers[0] if centers else average(discriminator))
    deviation = jnp.sqrt(average(jnp.square(z - average(z))))
    (threshold,) = like(z, threshold)
    dropped = mask & (advantage < 0) & (z < -threshold * deviation) & (deviation >= 1e-12)
    if max_fraction is not None:
        lowest = extreme_mask(
            jnp.where(dropped, z, jnp.inf), fraction=max_fraction, where=mask, largest=False, minimum=1
        )
        dropped &= lowest
    return mask & ~dropped
