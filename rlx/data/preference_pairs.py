"""Making, relabelling and grouping the pairs that preference losses learn from."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import Scalar, elements, like


def optimal_rejected_log_prob(
    chosen_log_prob: Float[Array, "*#batch"],
    target_log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.1,
    axis: int = -1,
) -> Float[Array, "*batch"]:
    """Distribution of rejected responses, for which DPO's log-ratio reward is exactly right (DID).

    q_rejected ∝ q_chosen · (π_ref / π_target)^β. Pairs of a chosen response from q_chosen and a rejected one from
    q_rejected have π_target as the only optimum of DPO with that β and reference. β = 0 gives q_chosen back.

    Args:
        chosen_log_prob: log q_chosen over an enumerated support [*batch, response]; −inf outside of it.
        target_log_prob: log π_target, up to a constant; may be −inf only where log q_chosen is.
        reference_log_prob: log π_ref, up to a constant; as above.
        beta: temperature β of DPO.
        axis: static; the axis of the responses.

    Returns:
        Normalized log q_rejected [*batch, response], without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import optimal_rejected_log_prob
        >>> chosen, target, reference = jnp.log(jnp.array([[0.5, 0.5], [0.8, 0.2], [0.5, 0.5]]))
        >>> [round(x, 3) for x in jnp.exp(optimal_rejected_log_prob(chosen, target, reference, beta=1.0)).tolist()]
        [0.2, 0.8]

    Reconstruction:
        The abstract states that a closed form exists; this one follows by Bayes' rule from the preference
        probability of two samplers, σ(log (q_chosen/q_rejected)(y_w) − log (q_chosen/q_rejected)(y_l)).

    References:
        Won et al., 2025, "Differential Information: An Information-Theoretic Perspective on Preference
        Optimization", arXiv:2505.23761.
    """
    chosen_log_prob, target_log_prob, reference_log_prob = lax.stop_gradient(
        elements(
            chosen_log_prob=chosen_log_prob, target_log_prob=target_log_prob, reference_log_prob=reference_log_prob
        )
    )
    (beta,) = like(chosen_log_prob, beta)
    tilt = jnp.where(jnp.isneginf(chosen_log_prob), 0, reference_log_prob - target_log_prob)
    return jax.nn.log_softmax(chosen_log_prob + beta * tilt, axis)


def reward_augmented_pairs(
    chosen_reward: Float[Array, " pair"], rejected_reward: Float[Array, " pair"]
) -> dict[str, Array]:
    """Each preference pair twice: once for the goal of the chosen reward, once reversed for that of the rejected.

    With the goal-conditioned reward R(y, g) = −(g − r(y))², the goal g = r_chosen keeps the order of the pair and
    g = r_rejected turns it round. The policy is conditioned on the goal, and asked for the largest at inference.

    Args:
        chosen_reward: reward of the chosen response of each pair [pair].
        rejected_reward: reward of the rejected response [pair].

    Returns:
        Without gradient, all [2·pair], first the originals and then the reversed: "index", the pair to gather;
        "swap", True where chosen and rejected change places; "goal", the reward to condition on; "where", False
        where r_chosen ≤ r_rejected, a pair that contradicts itself and should be left out.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import reward_augmented_pairs
        >>> pairs = reward_augmented_pairs(jnp.array([3.0, 2.0]), jnp.array([1.0, 0.0]))
        >>> pairs["index"].tolist(), pairs["swap"].tolist(), pairs["goal"].tolist()
        ([0, 1, 0, 1], [False, False, True, True], [3.0, 2.0, 1.0, 0.0])

    References:
        Zhang et al., 2024, "Reward-Augmented Data Enhances Direct Preference Alignment of LLMs",
        arXiv:2410.08067.
    """
    chosen_reward, rejected_reward = lax.stop_gradient(
        elements(chosen_reward=chosen_reward, rejected_reward=rejected_reward)
    )
    number = chosen_reward.shape[0]
    return {
        "index": jnp.tile(jnp.arange(number), 2),
        "swap": jnp.repeat(jnp.array([False, True]), number),
        "goal": jnp.concatenate([chosen_reward, rejected_reward]),
        "where": jnp.tile(chosen_reward > rejected_reward, 2),
    }


def same_policy_triplets(
    policy_id: Int[Array, "*batch trajectory"],
) -> Bool[Array, "*batch trajectory trajectory trajectory"]:
    """Which triplets of trajectories a policy discriminator can be trained on (POLAR).

    mask_ijk = (i ≠ j) and (policy_i = policy_j) and (policy_i ≠ policy_k): i is the reference, j another
    trajectory of the same policy, k one of a different policy. Both orders of i and j are included.

    Args:
        policy_id: number of the policy that made each trajectory of one prompt [*batch, trajectory].

    Returns:
        Mask [*batch, reference, same, different].

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import same_policy_triplets
        >>> mask = same_policy_triplets(jnp.array([0, 0, 1]))
        >>> jnp.argwhere(mask).tolist()  # reference, same, different
        [[0, 1, 2], [1, 0, 2]]

    References:
        Dou et al., 2025, "Pre-Trained Policy Discriminators are General Reward Models", arXiv:2507.05197.
    """
    same = policy_id[..., :, None] == policy_id[..., None, :]
    other = ~jnp.eye(policy_id.shape[-1], dtype=bool)
    return (same & other)[..., :, :, None] & ~same[..., :, None, :]
