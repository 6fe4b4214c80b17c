"""Penalties on the values of actions that the data do not show."""

import jax.numpy as jnp
from jax import lax
from jax.nn import logsumexp
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_mask, elements, like


def conservative_q(
    q: Float[Array, "*#batch"],
    random_q: Float[Array, "..."],
    policy_q: Float[Array, "..."],
    *,
    random_log_prob: Scalar = 0.0,
    policy_log_prob: Scalar = 0.0,
    lower_bound: Float[Array, "..."] | None = None,
    temperature: Scalar = 1.0,
    min_gap: Scalar = -jnp.inf,
    max_gap: Scalar = jnp.inf,
    importance: bool = True,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """CQL's gap: how much the soft maximum of a critic over all actions exceeds its value of the dataset's action.

    gap = clip(T·log Σ_j exp(x_j / T) − Q, min_gap, max_gap), with x the sampled actions' values less the
    log-densities that they were drawn with: random_q − random_log_prob and policy_q − sg(policy_log_prob). With
    importance=False, x is random_q, Q and policy_q themselves, and the gap is at least 0. CQL adds it, times a
    weight, to the squared error of each critic. With `lower_bound` G it is Cal-QL: policy_q ← max(policy_q, G)
    before all else, so that no value is pushed below what the data's policy is known to reach.

    Args:
        q: value Q of the dataset's action [*batch]; carries the gradient.
        random_q: values of n uniform actions [*batch, n]; carries the gradient.
        policy_q: values of m actions of the policy, of this state and most often of the next one, all at this
            state [*batch, m]; carries the gradient.
        random_log_prob: log-density of the uniform actions, |A|·log ½ for actions in [−1, 1]; a number or an
            array [*batch, n]; held constant.
        policy_log_prob: log-density of the policy's actions, a number or an array [*batch, m]; held constant.
        lower_bound: Monte-Carlo return-to-go G of the dataset's transition [*batch], in the rewards and with
            the discount of the critic; a constant. None for plain CQL.
        temperature: T; towards 0 the soft maximum becomes the maximum.
        min_gap: smallest gap, below which the gradient stops.
        max_gap: largest gap, above which the gradient stops.
        importance: static; corrects for the densities that the actions were drawn with.
        where: boolean mask [*batch], True where an element counts.

    Returns:
        The gap [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import value
        >>> q, random_q, policy_q = jnp.array([1.0, 4.0]), jnp.array([[0.0], [0.0]]), jnp.array([[3.0], [3.0]])
        >>> print(np.asarray(value.conservative_q(q, random_q, policy_q)).round(3))
        [ 2.049 -0.951]
        >>> lower_bound = jnp.array([5.0, 0.0])
        >>> print(np.asarray(value.conservative_q(q, random_q, policy_q, lower_bound=lower_bound)).round(3))
        [ 4.007 -0.951]

    References:
        Kumar et al., 2020, "Conservative Q-Learning for Offline Reinforcement Learning", arXiv:2006.04779.
        Nakamoto et al., 2023, "Cal-QL: Calibrated Offline RL Pre-Training for Efficient Online Fine-Tuning",
        arXiv:2303.05479 (the lower bound).
    """
    check_mask(where)
    each, mask = jnp.expand_dims(q, -1), None if where is None else jnp.expand_dims(where, -1)
    floor = -jnp.inf if lower_bound is None else lax.stop_gradient(jnp.expand_dims(lower_bound, -1))
    own, random_q, random_log_prob = elements(
        q=each, random_q=random_q, random_log_prob=like(random_q, random_log_prob)[0], where=mask
    )
    _, policy_q, policy_log_prob, floor = elements(
        q=each, policy_q=policy_q, policy_log_prob=like(policy_q, policy_log_prob)[0], lower_bound=floor, where=mask
    )
    temperature, min_gap, max_gap = like(own, temperature, min_gap, max_gap)
    policy_q = policy_q if lower_bound is None else jnp.maximum(policy_q, floor)
    if importance:
        random_q = random_q - lax.stop_gradient(random_log_prob)
        policy_q = policy_q - lax.stop_gradient(policy_log_prob)
    own = own[..., 0]
    soft = jnp.logaddexp(logsumexp(random_q / temperature, -1), logsumexp(policy_q / temperature, -1))
    if not importance:
        soft = jnp.logaddexp(soft, own / temperature)
    gap = jnp.clip(temperature * soft - own, min_gap, max_gap)
    return gap if where is None else jnp.where(where, gap, 0)
