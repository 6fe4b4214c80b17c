"""What preference training does to likelihoods, and what it is worth. Results carry no gradient."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import check_broadcast, elements, floating


def preference_accuracy(
    chosen_reward: Float[Array, "*#batch"],
    rejected_reward: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Whether a reward ranks a preference pair rightly.

    accuracy = 1 for r_chosen > r_rejected, ½ for a tie, 0 otherwise. With the implicit reward of a policy it says
    how well the policy classifies, not how well it generates: the two may move oppositely.

    Args:
        chosen_reward: reward of the chosen response [*batch].
        rejected_reward: reward of the rejected response.
        where: boolean mask, True where a pair counts.

    Returns:
        Accuracy per pair, without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import preference_accuracy
        >>> preference_accuracy(jnp.array([1.0, 0.0, 2.0]), jnp.array([0.0, 0.0, 3.0])).tolist()
        [1.0, 0.5, 0.0]

    References:
        Tang et al., 2024, "Understanding the performance gap between online and offline alignment algorithms",
        arXiv:2405.08448.
    """
    chosen_reward, rejected_reward = lax.stop_gradient(
        elements(chosen_reward=chosen_reward, rejected_reward=rejected_reward, where=where)
    )
    accuracy = (jnp.sign(chosen_reward - rejected_reward) + 1) / 2
    return accuracy if where is None else jnp.where(where, accuracy, 0)


def goodhart_curve(
    kl: Float[Array, "*#batch"], score: Float[Array, "*#batch"], *, axis: int = -1
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Best score within every budget of divergence from the reference: how runs of unequal speed are compared.

    With the points sorted by their KL, envelope_k = max {score_i : KL_i ≤ KL_k}.

    Args:
        kl: divergence KL(π ‖ π_ref) of each checkpoint [*batch, point].
        score: its score, by a judge that did not train it [*batch, point].
        axis: static; the axis of the points.

    Returns:
        The sorted KL and the envelope, both [*batch, point], without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import goodhart_curve
        >>> kl, envelope = goodhart_curve(jnp.array([3.0, 1.0, 2.0]), jnp.array([0.5, 0.25, 0.75]))
        >>> kl.tolist(), envelope.tolist()
        ([1.0, 2.0, 3.0], [0.25, 0.75, 0.75])

    References:
        Tang et al., 2024, "Understanding the performance gap between online and offline alignment algorithms",
        arXiv:2405.08448.
        Gao et al., 2022, "Scaling Laws for Reward Model Overoptimization", arXiv:2210.10760.
    """
    kl, score = lax.stop_gradient(jnp.broadcast_arrays(*elements(kl=kl, score=score)))
    axis %= kl.ndim
    # Of equal divergences the best score goes first, so that it counts for all of them.
    kl, negative = lax.sort((kl, -score), dimension=axis, num_keys=2)
    return kl, lax.cummax(-negative, axis)


def likelihood_displacement(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    initial_chosen_log_prob: Float[Array, "*#batch"],
    initial_rejected_log_prob: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> dict[str, Float[Array, "*batch"]]:
    """How far preference training has moved the likelihoods of the two responses of a pair (3D-properties).

    rejected_drop = log π_0(y_l) − log π(y_l) and chosen_change = log π(y_w) − log π_0(y_w). A large drop together
    with a negative change is the failure of direct alignment: both fall, and responses that are not in the data
    gain, see `unseen_mass`.

    Args:
        chosen_log_prob: log π(y_w|x) [*batch].
        rejected_log_prob: log π(y_l|x).
        initial_chosen_log_prob: log π_0(y_w|x), before training.
        initial_rejected_log_prob: log π_0(y_l|x), before training.
        where: boolean mask, True where a pair counts.

    Returns:
        "rejected_drop" and "chosen_change" per pair in nats, without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import likelihood_displacement
        >>> now, before = jnp.array([-5.0, -9.0]), jnp.array([-4.0, -4.0])  # of the chosen and the rejected response
        >>> {name: float(x) for name, x in likelihood_displacement(*now, *before).items()}
        {'rejected_drop': 5.0, 'chosen_change': -1.0}

    References:
        Yan et al., 2024, "3D-Properties: Identifying Challenges in DPO and Charting a Path Forward",
        arXiv:2406.07327.
    """
    chosen, rejected, initial_chosen, initial_rejected = lax.stop_gradient(
        elements(
            chosen_log_prob=chosen_log_prob,
            rejected_log_prob=rejected_log_prob,
            initial_chosen_log_prob=initial_chosen_log_prob,
            initial_rejected_log_prob=initial_rejected_log_prob,
            where=where,
        )
    )
    return {"rejected_drop": initial_rejected - rejected, "chosen_change": chosen - initial_chosen}


def unseen_mass(
    log_prob: Float[Array, "*#batch"], seen: Bool[Array, "*#batch"], *, axis: int = -1
) -> Float[Array, "..."]:
    """Probability of the responses that no pair of the data contains (3D-properties).

    unseen = 1 − Σ_{y seen} π(y). Direct alignment disperses to it what it takes from the rejected responses.

    Args:
        log_prob: log π of the responses [*batch, response], normalized over all responses there are; those not
            listed count as unseen.
        seen: True for a response of the data [*batch, response].
        axis: static; the axis of the responses.

    Returns:
        Probability [*batch], without gradient.

    Raises:
        ValueError: for a non-floating `log_prob` or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import unseen_mass
        >>> round(float(unseen_mass(jnp.log(jnp.array([0.5, 0.3, 0.2])), jnp.array([True, True, False]))), 3)
        0.2

    References:
        Yan et al., 2024, "3D-Properties: Identifying Challenges in DPO and Charting a Path Forward",
        arXiv:2406.07327.
    """
    shape = check_broadcast(log_prob=log_prob, seen=seen)
    (log_prob,) = lax.stop_gradient(floating(log_prob=log_prob))
    return 1 - jnp.sum(jnp.where(seen, jnp.exp(jnp.broadcast_to(log_prob, shape)), 0), axis)
