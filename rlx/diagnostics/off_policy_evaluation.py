"""What a policy would earn, estimated from logged episodes of another one. Results carry no gradient.

A bootstrap interval over episodes comes from `weight`, how often a resample holds each of them: see
`rlx.training.statistics.episode_interval`.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements


def importance_sampling(
    log_prob: Float[Array, "*batch episode time"],
    behavior_log_prob: Float[Array, "*batch episode time"],
    reward: Float[Array, "*batch episode time"],
    *,
    discount: Scalar = 1.0,
    weighted: bool = True,
    per_decision: bool = True,
    weight: Float[Array, "*batch episode"] | None = None,
    where: Bool[Array, "*batch episode time"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Value of a policy from episodes of another one, each as likely as the policy makes it (IS, WIS, PDIS, CWPDIS).

    $$ \hat V = \sum_i \sum_t \gamma^t \omega_{it}\, r_{it}, \qquad \omega_{it} = \frac{w_{it}}{n} \ \text{or}\
       \frac{w_{it}}{\sum_j w_{jt}}, \qquad w_{it} = \prod_{k \le t} \frac{\pi(a_{ik}|s_{ik})}{\mu(a_{ik}|s_{ik})} $$

    The ordinary estimate, with n for a divisor, is unbiased, and its variance grows exponentially with the length of
    episodes. The weighted one is biased but consistent, and lies between the least and the largest return. Where a
    reward is weighted by the whole episode's ratio, w_iT in place of w_it, it is per trajectory. An episode that has
    ended counts as one in a state without rewards, with the ratio that it ended with.

    Args:
        log_prob: log-probability of the logged action under the policy π in question [*batch, episode, time].
        behavior_log_prob: the same under the policy μ that acted [*batch, episode, time].
        reward: rewards [*batch, episode, time].
        discount: γ.
        weighted: static; whether the ratios of all episodes are divided by their sum.
        per_decision: static; whether a reward is weighted by the ratio up to its step, or by that of its episode.
        weight: how often each episode counts, such as in a bootstrap resample [*batch, episode]; once by default.
        where: boolean mask, True where an episode has a step [*batch, episode, time]; one without any does not count.

    Returns:
        The estimate, without gradient [*batch]; NaN where no episode counts, or where π makes none of them possible and
        the estimate is weighted.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import importance_sampling
        >>> log_prob = jnp.log(jnp.array([[0.9], [0.1]]))  # one choice in each of two episodes
        >>> behavior_log_prob, reward = jnp.log(jnp.full((2, 1), 0.5)), jnp.array([[1.0], [0.0]])
        >>> round(float(importance_sampling(log_prob, behavior_log_prob, reward)), 3)
        0.9

    References:
        Thomas and Brunskill, 2016, "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning",
        arXiv:1604.00923 (the consistent weighted per-decision estimate).
        Precup et al., 2000, "Eligibility Traces for Off-Policy Policy Evaluation", ICML.
    """
    log_prob, behavior_log_prob, reward, counts = _checked(
        weight, where, log_prob=log_prob, behavior_log_prob=behavior_log_prob, reward=reward
    )
    shares = _shares(log_prob - behavior_log_prob, counts, weighted=weighted, per_decision=per_decision)
    return _total(shares, _discounts(discount, reward, where) * reward).astype(reward.dtype)


def doubly_robust(
    log_prob: Float[Array, "*batch episode time"],
    behavior_log_prob: Float[Array, "*batch episode time"],
    reward: Float[Array, "*batch episode time"],
    q: Float[Array, "*batch episode time"],
    next_value: Float[Array, "*batch episode time"],
    initial_value: Float[Array, "*batch episode"],
    *,
    discount: Scalar = 1.0,
    weighted: bool = True,
    weight: Float[Array, "*batch episode"] | None = None,
    where: Bool[Array, "*batch episode time"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Value of a policy by a model of its values, corrected by what logged rewards say against it (DR, WDR).

    $$ \hat V = \frac1n \sum_i V(s_{i0}) + \sum_i \sum_t \gamma^t \omega_{it}
       \bigl(r_{it} + \gamma V(s_{i,t+1}) - Q(s_{it}, a_{it})\bigr) $$

    with the shares ω of `importance_sampling`, per decision. It is right where either the values or the ratios are:
    ordinary shares are unbiased whatever the values, and exact values have no residual to weight. This is the sum of
    the papers with the terms of each state brought together; it lets an episode that was cut be completed by the value
    of the state that it was cut in.

    Args:
        log_prob: log-probability of the logged action under the policy π in question [*batch, episode, time].
        behavior_log_prob: the same under the policy that acted [*batch, episode, time].
        reward: rewards [*batch, episode, time].
        q: Q(s_t, a_t) of the logged action, under π [*batch, episode, time].
        next_value: V(s_{t+1}) of the state that the step reached, 0 where the task ended [*batch, episode, time].
        initial_value: V(s_0) of the state that the episode began in [*batch, episode].
        discount: γ.
        weighted: static; whether the ratios of all episodes are divided by their sum.
        weight: how often each episode counts, such as in a bootstrap resample [*batch, episode]; once by default.
        where: boolean mask, True where an episode has a step [*batch, episode, time]; one without any does not count.

    Returns:
        The estimate, without gradient [*batch]; NaN where no episode counts, or where π makes none of them possible and
        the estimate is weighted.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import doubly_robust
        >>> log_prob = jnp.log(jnp.array([[0.9], [0.9]]))  # both episodes chose what earns 1, which is worth 0.9 then
        >>> behavior_log_prob, one = jnp.log(jnp.full((2, 1), 0.5)), jnp.ones((2, 1))
        >>> round(float(doubly_robust(log_prob, behavior_log_prob, one, one, 0 * one, jnp.full(2, 0.9))), 3)
        0.9

    References:
        Jiang and Li, 2016, "Doubly Robust Off-policy Value Evaluation for Reinforcement Learning", arXiv:1511.03722.
        Thomas and Brunskill, 2016, "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning",
        arXiv:1604.00923 (weighted).
    """
    initial_value = jnp.expand_dims(initial_value, -1)
    begun = None if where is None else jnp.any(where, axis=-1, keepdims=True)
    log_prob, behavior_log_prob, reward, q, next_value, counts = _checked(
        weight,
        where,
        log_prob=log_prob,
        behavior_log_prob=behavior_log_prob,
        reward=reward,
        q=q,
        next_value=next_value,
    )
    _, initial_value = lax.stop_gradient(elements(reward=reward, initial_value=initial_value))
    initial_value = initial_value if begun is None else jnp.where(begun, initial_value, 0)
    shares = _shares(log_prob - behavior_log_prob, counts, weighted=weighted, per_decision=True)
    residual = reward + jnp.asarray(discount, reward.dtype) * next_value - q
    of_values = jnp.sum(counts * initial_value, axis=(-2, -1)) / jnp.sum(counts, axis=(-2, -1))
    return (of_values + _total(shares, _discounts(discount, reward, where) * residual)).astype(reward.dtype)


def _checked(weight: Array | None, where: Array | None, **steps: Array) -> tuple[Array, ...]:
    """Arrays of steps, 0 where there is none, and how often each episode counts [*batch, episode, 1]."""
    arrays = lax.stop_gradient(elements(**steps, where=where))
    shape = arrays[0].shape
    begun = jnp.ones((*shape[:-1], 1), bool) if where is None else jnp.any(where, axis=-1, keepdims=True)
    counts = jnp.broadcast_to(begun, (*shape[:-1], 1)).astype(jnp.promote_types(arrays[0].dtype, jnp.float32))
    if weight is not None:
        _, given = lax.stop_gradient(elements(reward=arrays[0], weight=jnp.expand_dims(weight, -1)))
        counts = jnp.where(begun, counts * given, 0)
    return *arrays, counts


def _shares(log_ratio: Array, counts: Array, *, weighted: bool, per_decision: bool) -> Array:
    """ω: how much each reward counts [*batch, episode, time]."""
    log_weight = jnp.cumsum(log_ratio.astype(counts.dtype), axis=-1)
    log_weight = log_weight if per_decision else log_weight[..., -1:]
    if not weighted:
        # An episode that does not count may have a ratio beyond all numbers.
        each = jnp.where(counts > 0, counts * jnp.exp(log_weight), 0)
        return each / jnp.sum(counts, axis=-2, keepdims=True)
    # In logarithms: ratios of long episodes fit into no floating-point number.
    log_weight = log_weight + jnp.log(counts)
    peak = jnp.max(log_weight, axis=-2, keepdims=True)
    scaled = jnp.exp(log_weight - jnp.where(jnp.isfinite(peak), peak, 0))
    return scaled / jnp.sum(scaled, axis=-2, keepdims=True)


def _discounts(discount: Scalar, reward: Array, where: Array | None) -> Array:
    """γ^t, of steps counted from the beginning of the episode."""
    steps = jnp.ones(reward.shape, bool) if where is None else jnp.broadcast_to(where, reward.shape)
    return jnp.asarray(discount, reward.dtype) ** (jnp.cumsum(steps, axis=-1) - 1)


def _total(shares: Array, gain: Array) -> Array:
    """Σ_i Σ_t of what counts so much; a ratio beyond all numbers is worth nothing where nothing was gained."""
    return jnp.sum(jnp.where((gain == 0) & jnp.isinf(shares), 0, shares * gain), axis=(-2, -1))
