"""How much the final answers of a group of rollouts agree. Results carry no gradient."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rlx.types import check_broadcast, check_mask


def outcome_entropy(
    outcome: Int[Array, "..."],
    *,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Entropy of the final answers of each group of rollouts: 0 in consensus, log of the size if all differ (COPO).

    H = −Σ_a p̂_a · log p̂_a, with p̂_a the share of answer a in the group.

    Args:
        outcome: answers as integers, equal for equal answers [*batch, group].
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.

    Returns:
        Entropy in nats [*batch]; 0 for a group without rollouts.

    Raises:
        ValueError: for a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import outcome_entropy
        >>> [round(x, 3) for x in outcome_entropy(jnp.array([[5, 5, 2, 2], [1, 2, 3, 4]])).tolist()]
        [0.693, 1.386]

    References:
        Han et al., 2025, "COPO: Consistency-Aware Policy Optimization", arXiv:2508.04138.
    """
    check_mask(where)
    shape = check_broadcast(outcome=outcome, where=where)
    outcome, mask = (
        jnp.moveaxis(jnp.broadcast_to(x, shape), axis, -1) for x in (outcome, True if where is None else where)
    )
    # Each rollout stands for its answer: the mean of −log p̂ over rollouts is the entropy over answers.
    equal = (outcome[..., :, None] == outcome[..., None, :]) & mask[..., None, :]
    count = jnp.maximum(jnp.sum(mask, -1, keepdims=True), 1).astype(float)
    share = jnp.sum(equal, -1).astype(float) / count
    return -jnp.sum(jnp.where(mask, jnp.log(jnp.where(mask, share, 1)), 0), -1) / count[..., 0]
