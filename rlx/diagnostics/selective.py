"""How good are the answers that a system gives, when it may decline the ones it trusts least."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, floating, like


def risk_coverage(
    score: Float[Array, "*#batch"], loss: Float[Array, "*#batch"], *, axis: int = -1
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Mean loss of the k most trusted answers, for every k: the risk-coverage curve (AURC).

    In descending order of the score, coverage_k = k / n and risk_k = (1/k) Σ_{i≤k} loss_i; equal scores keep their
    order. The mean of the risk over k is the area under the curve (AURC).

    Args:
        score: confidence in each answer [*batch, answer].
        loss: loss of each answer [*batch, answer].
        axis: static; the axis of the answers.

    Returns:
        Coverage and risk, both [*batch, answer] in ascending coverage, without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import risk_coverage
        >>> coverage, risk = risk_coverage(jnp.array([0.9, 0.2, 0.6]), jnp.array([0.0, 1.0, 0.0]))
        >>> [round(x, 3) for x in coverage.tolist()], [round(x, 3) for x in risk.tolist()]
        ([0.333, 0.667, 1.0], [0.0, 0.0, 0.333])

    References:
        Geifman and El-Yaniv, 2017, "Selective Classification for Deep Neural Networks", arXiv:1705.08500.
        Ye and Ng, 2024, "Self-Judge: Selective Instruction Following with Alignment Self-Evaluation",
        arXiv:2409.00935.
    """
    score, loss = lax.stop_gradient(jnp.broadcast_arrays(*elements(score=score, loss=loss)))
    _, ordered = lax.sort((-score, loss), dimension=axis % score.ndim, num_keys=1, is_stable=True)
    wide = jnp.promote_types(loss.dtype, jnp.float32)
    number = jnp.cumsum(jnp.ones_like(loss, wide), axis)
    coverage, risk = number / loss.shape[axis], jnp.cumsum(ordered.astype(wide), axis) / number
    return coverage.astype(loss.dtype), risk.astype(loss.dtype)


def selective_accuracy(
    score: Float[Array, "..."],
    correct: Bool[Array, "..."],
    threshold: Scalar,
    *,
    axis: int = -1,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Share of correct answers among those whose score reaches a threshold (selective classification).

    accuracy = Σ_i [s_i ≥ threshold]·[i correct] / Σ_i [s_i ≥ threshold].

    Args:
        score: confidence in each answer [*batch, answer].
        correct: True where an answer is correct [*batch, answer].
        threshold: answers of a lower score are declined.
        axis: static; the axis of the answers.
        where: boolean mask, True where an answer counts.

    Returns:
        Accuracy [*batch], without gradient; 0 where nothing is answered.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import selective_accuracy
        >>> score, correct = jnp.array([0.9, 0.6, 0.2, 0.1]), jnp.array([True, True, True, False])
        >>> float(selective_accuracy(score, correct, 0.0)), float(selective_accuracy(score, correct, 0.5))
        (0.75, 1.0)

    References:
        Geifman and El-Yaniv, 2017, "Selective Classification for Deep Neural Networks", arXiv:1705.08500.
        Ye and Ng, 2024, "Self-Judge: Selective Instruction Following with Alignment Self-Evaluation",
        arXiv:2409.00935.
    """
    (dtype,) = (x.dtype for x in floating(score=score))
    score, correct = jnp.broadcast_arrays(*elements(score=score, correct=correct.astype(dtype), where=where))
    (threshold,) = like(score, threshold)
    answered = (score >= threshold) & (True if where is None else where)
    return mean(lax.stop_gradient(correct), where=answered, axis=axis)
