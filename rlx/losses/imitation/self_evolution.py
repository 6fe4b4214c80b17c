"""Targets of imitation that a policy's own past corrects where the data are noisy."""

from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like


def self_evolution_target(
    action: Float[Array, "*#batch"],
    past_prediction: Float[Array, "*#batch"],
    *,
    alpha: Scalar,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Decision Mamba's regression targets: dataset actions mixed with what an earlier policy predicted for them.

    ã = sg((1 − α)·a + α·â_past). The loss is a squared distance of the policy's action to ã; α = 0 is behavior
    cloning. The weight grows as the past policy can be trusted: α_t = min(bound, α_T·t/T) in epoch t of T,
    with bound 0.5.

    Args:
        action: dataset action a [*batch]; a constant.
        past_prediction: prediction â of the policy of an earlier epoch, or of its moving average [*batch]; a
            constant.
        alpha: weight α of the past prediction, from 0 to 1.
        where: boolean mask, True where an element counts.

    Returns:
        Targets of the broadcast shape, without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import imitation
        >>> action, past_prediction = jnp.array([1.0, -1.0]), jnp.array([0.0, -1.0])
        >>> print(imitation.self_evolution_target(action, past_prediction, alpha=0.25))
        [ 0.75 -1.  ]

    Reconstruction:
        The abstract speaks of the past policy's knowledge, and the schedule is that of the released code
        (aopolin-lv/DecisionMamba, training/seq_trainer.py). That code however mixes in the current prediction
        with its gradient, which only rescales the squared error by (1 − α)², and then sets α to 0. The target
        with a constant past prediction rests on the abstract.

    References:
        Lv et al., 2024, "Decision Mamba: A Multi-Grained State Space Model with Self-Evolution Regularization
        for Offline RL", arXiv:2406.05427.
    """
    action, past_prediction = lax.stop_gradient(elements(action=action, past_prediction=past_prediction, where=where))
    (alpha,) = like(action, alpha)
    return (1 - alpha) * action + alpha * past_prediction
