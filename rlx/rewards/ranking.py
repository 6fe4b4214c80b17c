"""Losses of reward models that learn from comparisons, to be minimized."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Real

from rlx.losses.preference.pairwise import pair_loss
from rlx.reduce import mean
from rlx.types import check_broadcast, elements


def discriminative_reward_loss(
    same_reward: Float[Array, "*#batch"],
    different_reward: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Bradley–Terry loss of a reward model on pairs, of which the first should score higher (POLAR).

    L = −log σ(r_same − r_different). In the pre-training of policy discriminators both are conditioned on a
    trajectory of policy A, and compare another of A with one of a policy B. With the chosen and the rejected
    response of a human comparison it is the ordinary loss of reward models.
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        same_reward: reward of the trajectory of the same policy, or of the chosen response [*batch]; carries the
            gradient.
        different_reward: reward of the trajectory of another policy, or of the rejected response; carries the
            gradient.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> print(np.asarray(rewards.discriminative_reward_loss(jnp.array([2.0, 0.0]), jnp.array([0.0, 0.0]))).round(3))
        [0.127 0.693]

    References:
        Dou et al., 2025, "Pre-Trained Policy Discriminators are General Reward Models", arXiv:2507.05197.
        Bradley and Terry, 1952, "Rank Analysis of Incomplete Block Designs: I. The Method of Paired
        Comparisons".
    """
    same_reward, different_reward = elements(same_reward=same_reward, different_reward=different_reward, where=where)
    loss = pair_loss(same_reward - different_reward)
    return loss if where is None else jnp.where(where, loss, 0)


def ranking_reward_loss(
    reward: Float[Array, "..."],
    rank: Real[Array, "..."],
    *,
    axis: int = -1,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Bradley–Terry loss of a reward model over all ordered pairs of a ranked list (InstructGPT, POLAR).

    L = mean over the pairs with rank_i < rank_j of −log σ(r_i − r_j). Equal ranks are not compared.

    Args:
        reward: reward of each item [*batch, item]; carries the gradient.
        rank: place of each item, 0 or 1 the best [*batch, item]; integers or floats.
        axis: static; the axis of the items.
        where: boolean mask, True where an item counts.

    Returns:
        Loss of each list [*batch]; 0 where no pair is ordered.

    Raises:
        ValueError: for a non-floating `reward`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> rank = jnp.array([0, 1, 2])
        >>> print(np.asarray(rewards.ranking_reward_loss(jnp.array([2.0, 1.0, 0.0]), rank)).round(2))
        0.25
        >>> print(np.asarray(rewards.ranking_reward_loss(jnp.array([0.0, 1.0, 2.0]), rank)).round(2))
        1.58

    References:
        Dou et al., 2025, "Pre-Trained Policy Discriminators are General Reward Models", arXiv:2507.05197.
        Ouyang et al., 2022, "Training Language Models to Follow Instructions with Human Feedback",
        arXiv:2203.02155 (all pairs of one list).
    """
    shape = check_broadcast(reward=reward, rank=rank, where=where)
    (reward,) = elements(reward=reward, where=where)
    mask = jnp.broadcast_to(True if where is None else where, shape)
    reward, rank = jnp.broadcast_to(reward, shape), jnp.broadcast_to(rank, shape)
    pair = axis % len(shape), axis % len(shape) + 1

    def pairs(x: Array) -> tuple[Array, ...]:
        """The items as the first and as the second of each pair."""
        return tuple(jnp.broadcast_arrays(jnp.expand_dims(x, pair[1]), jnp.expand_dims(x, pair[0])))

    (first_rank, second_rank), (first_counts, second_counts) = pairs(rank), pairs(mask)
    ordered = (first_rank < second_rank) & first_counts & second_counts
    return mean(discriminative_reward_loss(*pairs(reward), where=ordered), where=ordered, axis=pair)
