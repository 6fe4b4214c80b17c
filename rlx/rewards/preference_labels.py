"""Rewards learned from preference labels, and datasets relabelled with them."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from rlx.losses.preference.pairwise import pair_loss
from rlx.types import check_broadcast, check_mask, elements, floating


def preference_reward(
    reward_a: Float[Array, "*#batch"],
    reward_b: Float[Array, "*#batch"],
    label: Int[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Cross-entropy of a reward model on which of two segments was preferred (Bradley-Terry).

    L = −log softmax([r̂_a, r̂_b])[label], the logistic `rlx.losses.preference.pair_loss` of the difference. Average
    it over the pairs with an answer only.

    Args:
        reward_a: predicted reward of the first frame, or summed over the first segment [*batch]; carries the
            gradient.
        reward_b: the same of the second [*batch]; carries the gradient.
        label: 0 where the first is preferred, 1 where the second is, −1 where the labeller could not tell
            [*batch].
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair [*batch], 0 where masked or without an answer, even if a reward is infinite there.

    Raises:
        ValueError: for a non-floating reward, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> reward_a, reward_b = jnp.array([2.0, 2.0, 2.0]), jnp.array([0.0, 0.0, 0.0])
        >>> print(np.asarray(rewards.preference_reward(reward_a, reward_b, jnp.array([0, 1, -1]))).round(3))
        [0.127 2.127 0.   ]

    References:
        Bradley & Terry, 1952, "Rank Analysis of Incomplete Block Designs".
        Christiano et al., 2017, "Deep Reinforcement Learning from Human Preferences", arXiv:1706.03741.
        Venkataraman et al., 2024, "Real-World Offline Reinforcement Learning from Vision Language Model
        Feedback", arXiv:2411.05273.
    """
    check_mask(where)
    check_broadcast(reward_a=reward_a, reward_b=reward_b, label=label, where=where)
    answered = (label >= 0) if where is None else (label >= 0) & where
    reward_a, reward_b = elements(reward_a=reward_a, reward_b=reward_b, where=answered)
    first_preferred = jnp.asarray(label == 0, reward_a.dtype)
    return jnp.where(answered, pair_loss(reward_a - reward_b, label=first_preferred), 0)


def relabel(
    reward_fn: Callable[[PyTree[Array]], Array],
    observation: PyTree[Array],
    *,
    ensemble_axis: int = 0,
    normalize: bool = True,
) -> Float[Array, "..."]:
    """Rewards of a dataset by an ensemble of learned reward models (offline RL-VLM-F).

    r = mean_k (r̂_k − mean r̂_k) / std r̂_k over the members k, mean and standard deviation over the dataset; without
    normalization r = mean_k r̂_k. Preferences leave the offset and scale of a reward free, which differ between
    members, and to which the temperature of an offline learner is sensitive.

    Args:
        reward_fn: function of the observations that gives the reward of each by each member [ensemble, *batch].
        observation: observations of the whole dataset [*batch, observation], or a pytree of arrays; a constant.
        ensemble_axis: static; the axis of the members in what `reward_fn` gives.
        normalize: static; whether each member is brought to mean 0 and standard deviation 1. A constant one gives
            0.

    Returns:
        Rewards [*batch], without gradient.

    Raises:
        ValueError: if `reward_fn` gives a non-floating array.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> members = lambda observation: jnp.stack([observation, 10 * observation + 3])
        >>> print(np.asarray(rewards.relabel(members, jnp.array([0.0, 1.0, 2.0]))).round(3))
        [-1.225  0.     1.225]

    Reconstruction:
        Each member is normalized before the average as in Christiano et al. The released code of RL-VLM-F, the
        predecessor of the offline method, averages the members as they are and says in a comment that they ought
        to be normalized. What the offline paper does is not known.

    References:
        Christiano et al., 2017, "Deep Reinforcement Learning from Human Preferences", arXiv:1706.03741
        (section 2.2.3).
        Venkataraman et al., 2024, "Real-World Offline Reinforcement Learning from Vision Language Model
        Feedback", arXiv:2411.05273.
    """
    (reward,) = lax.stop_gradient(floating(reward=reward_fn(observation)))
    if normalize:
        reward = _standardize(reward, ensemble_axis)
    return jnp.mean(reward, ensemble_axis)


def _standardize(reward: Array, ensemble_axis: int) -> Array:
    samples = tuple(axis for axis in range(reward.ndim) if axis != ensemble_axis % reward.ndim)
    deviation = reward - jnp.mean(reward, samples, keepdims=True)
    variance = jnp.mean(jnp.square(deviation), samples, keepdims=True)
    # Equal rewards leave deviations of the order of rounding, never reliably 0.
    rounding = jnp.square(8 * jnp.finfo(reward.dtype).eps) * jnp.mean(jnp.square(reward), samples, keepdims=True)
    constant = variance <= rounding
    return jnp.where(constant, 0, deviation / jnp.sqrt(jnp.where(constant, 1, variance)))
