"""Generation that starts in the middle of a known sequence."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rlx.types import Scalar


def reset_lengths(
    key: Key[Array, ""], length: Int[Array, "*batch"], *, probability: Scalar = 1.0
) -> Int[Array, "*batch"]:
    """How many tokens of each known sequence to keep before the policy continues: a reset to the data (DR-PO).

    With the given probability L ~ Uniform{1, …, length − 1}, else L = 0; L = 0 too for lengths below 2.

    Args:
        key: random key.
        length: number of tokens of each known sequence [*batch].
        probability: probability of a reset.

    Returns:
        Number of tokens to keep [*batch].

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.data import reset_lengths
        >>> kept = reset_lengths(jax.random.key(0), jnp.array([1, 2, 100]))
        >>> kept[:2].tolist(), 1 <= int(kept[2]) < 100
        ([0, 1], True)

    References:
        Chang et al., 2024, "Dataset Reset Policy Optimization for RLHF", arXiv:2404.08495.
        Chang et al., 2023, "Learning to Generate Better Than Your LLM", arXiv:2306.11816 (tokens of a guide).
    """
    reset_key, length_key = jax.random.split(key)
    kept = jax.random.randint(length_key, length.shape, 1, jnp.maximum(length, 2), length.dtype)
    reset = jax.random.bernoulli(reset_key, probability, length.shape)
    return jnp.where(reset & (length >= 2), kept, 0)


def prefix_mask(length: Int[Array, "*batch"], *, horizon: int) -> Bool[Array, "*batch horizon"]:
    """Mask of the tokens that are taken from the data; the others are the policy's own (DR-PO).

    mask_t = (t < length). Losses of the policy count `~mask`, and average over its tokens only: a forced token has
    no advantage. Values, returns and KL penalties use all tokens.

    Args:
        length: number of forced tokens [*batch].
        horizon: static; the number of tokens of a sequence.

    Returns:
        Mask [*batch, horizon], True where forced.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import prefix_mask
        >>> prefix_mask(jnp.array([1, 3]), horizon=4).astype(int).tolist()
        [[1, 0, 0, 0], [1, 1, 1, 0]]

    References:
        Chang et al., 2024, "Dataset Reset Policy Optimization for RLHF", arXiv:2404.08495.
    """
    return jnp.arange(horizon) < jnp.expand_dims(length, -1)
