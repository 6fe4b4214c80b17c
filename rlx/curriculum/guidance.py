"""When to learn from a guide policy and when on one's own."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rlx.types import Scalar, check_choice


def guided_mode(
    key: Key[Array, ""], step: Int[Array, "*batch"], *, rule: str = "mix", threshold: Scalar
) -> Bool[Array, "*batch"]:
    """Whether an iteration trains what follows the guide's prefix, or the prefix that the guide completes (RLGF).

    True (PPO++: the guide rolls in, the policy rolls out and its tokens are trained) with probability threshold for
    the rule "mix" (LOLS, 0.8 in the paper), or from iteration threshold on, mode = (step ≥ threshold), for "switch"
    (D²LOLS). False is AggreVaTeD: the policy rolls in and its prefix is trained, on the advantage of the guide
    that rolls out. The two masks are `~prefix_mask(...)` and `prefix_mask(...)` of `rlx.data`.

    Args:
        key: random key, used by "mix" only.
        step: number of each iteration, from 0 [*batch].
        rule: static; "mix" or "switch".
        threshold: probability of True for "mix", first iteration of True for "switch".

    Returns:
        Mode of each iteration [*batch].

    Raises:
        ValueError: for an unknown `rule`.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.curriculum import guided_mode
        >>> guided_mode(jax.random.key(0), jnp.arange(4), rule="switch", threshold=2).tolist()
        [False, False, True, True]

    References:
        Chang et al., 2023, "Learning to Generate Better Than Your LLM", arXiv:2306.11816.
    """
    check_choice("rule", rule, ("mix", "switch"))
    if rule == "mix":
        return jax.random.bernoulli(key, threshold, jnp.shape(step))
    return step >= threshold
