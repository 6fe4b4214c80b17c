"""Policy gradients toward a target distribution that is known up to its normalizer."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.regularizers.divergence.generators import f_derivative
from rlx.types import Scalar, check_broadcast, elements, floating, like


def f_dpg(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    target_log_score: Float[Array, "*#batch"],
    *,
    log_normalizer: Scalar,
    divergence: str = "jensen_shannon",
    baseline: Scalar = 0.0,
    where: Bool[Array, "*#batch"] | None = None,
    bound: Scalar = 30.0,
) -> Float[Array, "*batch"]:
    """f-DPG: policy gradient of an f-divergence D_f(π ‖ p) to a target p = P/Z, from samples of any policy.

    With t = π/p, log t = log π − (log P − log Z), and q the behavior policy, L = −sg[(π/q)·A]·log π with
    A = −f′(t) − baseline. Its expected gradient is ∇D_f(π ‖ p) = E_q[(π/q)·f′(t)·∇log π], 0 at π = p. forward_kl is
    distributional policy gradient, and reverse_kl with `kl_target` the KL-regularized one. log t and log (π/q)
    are clipped to ±bound: a target of 0, log P = −inf, would have an infinite slope under the reverse KL.
    On a CPU the exponentials cost several times the memory traffic.

    Args:
        log_prob: log π of each sample, summed over its tokens [*batch]; carries the gradient.
        behavior_log_prob: log q under the policy that generated the sample; a constant.
        target_log_score: log P of each sample, up to log Z; a constant.
        log_normalizer: log Z, scalar or per sample, such as from `log_normalizer`; without gradient.
        divergence: static; a name of `rlx.regularizers.divergence.f_derivative`.
        baseline: mean of −f′(t) over recent samples, scalar or per sample, without gradient.
        where: boolean mask, True where a sample counts.
        bound: largest absolute log-ratio; `jnp.inf` for none.

    Returns:
        Loss per sample, of use for its gradient only; 0 where masked.

    Raises:
        ValueError: for an unknown `divergence`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, target = jnp.log(jnp.array([0.25, 0.75])), jnp.log(jnp.array([0.5, 0.5]))
        >>> loss = lambda x: policy.f_dpg(x, log_prob, target, log_normalizer=0.0).sum()
        >>> print(np.asarray(jax.grad(loss)(log_prob)).round(3))
        [-0.405  0.182]

    References:
        Go et al., 2023, "Aligning Language Models with Preferences through f-divergence Minimization",
        arXiv:2302.08215.
    """
    log_prob, behavior_log_prob, target_log_score = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, target_log_score=target_log_score, where=where
    )
    check_broadcast(log_prob=log_prob, log_normalizer=log_normalizer, baseline=baseline, where=where)
    log_normalizer, baseline, bound = like(log_prob, log_normalizer, baseline, bound)
    if where is not None:
        log_normalizer, baseline = jnp.where(where, log_normalizer, 0), jnp.where(where, baseline, 0)
    log_ratio = jnp.clip(log_prob - (target_log_score - log_normalizer), -bound, bound)
    weight = jnp.exp(jnp.clip(log_prob - behavior_log_prob, -bound, bound))
    advantage = -f_derivative(log_ratio, divergence=divergence) - baseline
    return -lax.stop_gradient(weight * advantage) * log_prob


def log_normalizer(
    target_log_score: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    *,
    axis: int = -1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "..."]:
    """Importance estimate of the normalizer of a target, from samples of another policy.

    log Z ≈ log (1/n) Σ_i P(y_i) / q(y_i), y_i ~ q. Its variance is huge where q is far from the target: average
    Z over updates.

    Args:
        target_log_score: log P of each sample [*batch, sample]; −inf for a sample that the target excludes.
        behavior_log_prob: log q of each sample.
        axis: static; the sample axis.
        where: boolean mask, True where a sample counts.

    Returns:
        log Z [*batch], without gradient; −inf where no valid sample has P > 0, 0 where none is valid.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> behavior_log_prob, weight = jnp.array([-1.0, -2.0, -3.0]), jnp.array([1.0, 2.0, 6.0])
        >>> log_z = policy.log_normalizer(behavior_log_prob + jnp.log(weight), behavior_log_prob)
        >>> print(np.asarray(jnp.exp(log_z)).round(3))
        3.0

    References:
        Go et al., 2023, "Aligning Language Models with Preferences through f-divergence Minimization",
        arXiv:2302.08215.
    """
    target_log_score, behavior_log_prob = lax.stop_gradient(
        elements(target_log_score=target_log_score, behavior_log_prob=behavior_log_prob, where=where)
    )
    log_weight = target_log_score - behavior_log_prob
    if where is None:
        return jax.nn.logsumexp(log_weight, axis) - jnp.log(jnp.asarray(log_weight.shape[axis], log_weight.dtype))
    mask = jnp.broadcast_to(where, log_weight.shape)
    count = jnp.sum(mask, axis).astype(log_weight.dtype)
    total = jax.nn.logsumexp(jnp.where(mask, log_weight, -jnp.inf), axis)
    return jnp.where(count > 0, total - jnp.log(jnp.maximum(count, 1)), 0)


def kl_target(
    reference_log_prob: Float[Array, "*#batch"], reward: Float[Array, "*#batch"], *, beta: Scalar
) -> Float[Array, "*batch"]:
    """Score of the optimal policy of a reward with a KL penalty, the target of RLHF.

    log P = log π_ref + r/β.

    Args:
        reference_log_prob: log π_ref of each sample [*batch].
        reward: reward r of each sample.
        beta: strength β of the penalty, positive.

    Returns:
        log P per sample, up to a constant, without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> print(policy.kl_target(jnp.array([-1.0, -2.0]), jnp.array([0.0, 1.0]), beta=0.5))
        [-1.  0.]

    References:
        Korbak et al., 2022, "On Reinforcement Learning and Distribution Matching for Fine-Tuning Language Models
        with no Catastrophic Forgetting", arXiv:2206.00761.
        Go et al., 2023, "Aligning Language Models with Preferences through f-divergence Minimization",
        arXiv:2302.08215.
    """
    reference_log_prob, reward = lax.stop_gradient(elements(reference_log_prob=reference_log_prob, reward=reward))
    (beta,) = like(reward, beta)
    return reference_log_prob + reward / beta


def constraint_target(
    reference_log_prob: Float[Array, "*#batch"], satisfied: Bool[Array, "*#batch"]
) -> Float[Array, "*batch"]:
    """Score of the reference policy conditioned on a requirement, the target of controlled generation (GDC).

    log P = log π_ref where the requirement is satisfied, and log P = −inf elsewhere.

    Args:
        reference_log_prob: log π_ref of each sample [*batch].
        satisfied: True where a sample meets the requirement [*batch].

    Returns:
        log P per sample, up to a constant, without gradient.

    Raises:
        ValueError: for a non-floating `reference_log_prob` or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> print(policy.constraint_target(jnp.array([-1.5, -2.0]), jnp.array([True, False])))
        [-1.5 -inf]

    References:
        Khalifa et al., 2020, "A Distributional Approach to Controlled Text Generation", arXiv:2012.11635.
        Go et al., 2023, "Aligning Language Models with Preferences through f-divergence Minimization",
        arXiv:2302.08215.
    """
    check_broadcast(reference_log_prob=reference_log_prob, satisfied=satisfied)
    (reference_log_prob,) = lax.stop_gradient(floating(reference_log_prob=reference_log_prob))
    return jnp.where(satisfied, reference_log_prob, -jnp.inf)


def exponential_family_target(
    reference_log_prob: Float[Array, "*#batch"],
    feature: Float[Array, "*#batch feature"],
    coefficient: Float[Array, " feature"],
) -> Float[Array, "*batch"]:
    """Score of the reference policy tilted by features, the target that meets given mean features (GDC).

    log P = log π_ref + Σ_i λ_i·φ_i(y).

    Args:
        reference_log_prob: log π_ref of each sample [*batch].
        feature: features φ of each sample [*batch, feature].
        coefficient: coefficients λ [feature], those at which the means of the features are as wanted.

    Returns:
        log P per sample, up to a constant, without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> reference_log_prob, feature = jnp.array([-1.0, -2.0]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(policy.exponential_family_target(reference_log_prob, feature, jnp.array([0.5, -0.5])))
        [-0.5 -2.5]

    References:
        Khalifa et al., 2020, "A Distributional Approach to Controlled Text Generation", arXiv:2012.11635.
        Go et al., 2023, "Aligning Language Models with Preferences through f-divergence Minimization",
        arXiv:2302.08215.
    """
    reference_log_prob, feature, coefficient = lax.stop_gradient(
        floating(reference_log_prob=reference_log_prob, feature=feature, coefficient=coefficient)
    )
    check_broadcast(feature=feature, coefficient=coefficient)
    check_broadcast(reference_log_prob=reference_log_prob, feature=feature[..., 0])
    return reference_log_prob + jnp.sum(feature * coefficient, -1)
