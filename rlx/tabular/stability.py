"""How far an optimal policy moves when the reward does."""

from jaxtyping import Array, Float

from rlx.types import Scalar, floating, like


def soft_policy_stability_bound(
    reward_gap: Float[Array, "*batch"], *, temperature: Scalar, discount: Scalar
) -> Float[Array, "*batch"]:
    """Largest distance between the entropy-regularized optimal policies of two rewards (policy cliff).

    max_s TV(π*_R(·|s), π*_R'(·|s)) ≤ bound = ‖R − R'‖∞ / (2·temperature·(1 − discount)), with TV half the L1
    distance and π*_R = softmax(Q*_R / temperature). Without the entropy there is no such bound: an action that
    ties with the best one can take over at any change of the reward. Above 1 the bound says nothing.

    Args:
        reward_gap: ‖R − R'‖∞ ≥ 0, largest change of the reward over states and actions [*batch]; carries the
            gradient.
        temperature: weight of the entropy in both problems.
        discount: discount factor γ in [0, 1) of both problems.

    Returns:
        Bound on the total variation distance [*batch].

    Raises:
        ValueError: for a non-floating `reward_gap`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.tabular import soft_policy_stability_bound
        >>> bound = soft_policy_stability_bound(jnp.array([0.1, 0.01]), temperature=1.0, discount=0.9)
        >>> [round(x, 3) for x in bound.tolist()]
        [0.5, 0.05]

    References:
        Xu, 2025, "The Policy Cliff: A Theoretical Analysis of Reward-Policy Maps in Large Language Models",
        arXiv:2507.20150 (proposition 4.5).
    """
    (reward_gap,) = floating(reward_gap=reward_gap)
    temperature, discount = like(reward_gap, temperature, discount)
    return reward_gap / (2 * temperature * (1 - discount))
