"""What is still to come of an episode's reward. Results are constants."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.returns.temporal import gae
from rlx.types import Scalar, floating, like


def return_to_go(reward: Float[Array, "*batch"], *, discount: Scalar = 1.0, axis: int = 0) -> Float[Array, "*batch"]:
    """Sum of rewards from each step to the end (RTG), the input of return-conditioned policies (Decision Transformer).

    R̂_t = r_t + discount_t·R̂_{t+1}, that is `gae` with λ = 1 and all values 0. In evaluation R̂_{t+1} = R̂_t − r_t.

    Args:
        reward: r [time, *batch], 0 where padded.
        discount: a number, 1 for Decision Transformer, or an array like `reward` that is 0 at the last step
            of every episode where episodes follow each other in one row.
        axis: static; the time axis.

    Returns:
        Returns-to-go of the same shape, without gradient.

    Raises:
        ValueError: for a non-floating `reward` or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import returns
        >>> reward = jnp.array([1.0, 0.0, 2.0])
        >>> print(returns.return_to_go(reward))
        [3. 2. 2.]
        >>> print(returns.return_to_go(reward, discount=0.5))
        [1.5 1.  2. ]

    References:
        Chen et al., 2021, "Decision Transformer: Reinforcement Learning via Sequence Modeling",
        arXiv:2106.01345.
    """
    (reward,) = floating(reward=reward)
    (discount,) = like(reward, discount)
    nothing = jnp.zeros((), reward.dtype)
    return gae(reward, discount, nothing, nothing, lambda_=1.0, axis=axis)
