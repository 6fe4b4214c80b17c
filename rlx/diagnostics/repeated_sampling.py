"""What repeated sampling would find: pass@k and maj@k, without bias. Results carry no gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rlx.types import Scalar, check_broadcast, check_mask


def pass_at_k(
    correct: Bool[Array, "..."],
    *,
    k: Scalar,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Probability that at least one of k samples is right (pass@k), estimated from n ≥ k samples without bias.

    pass@k = 1 − C(n − c, k) / C(n, k) = 1 − Π_{i = n−c+1}^{n} (1 − k/i) with c right ones among n.

    Args:
        correct: whether each sample is right [*batch, sample].
        k: how many are drawn, between 1 and n.
        axis: static; the axis of the samples.

    Returns:
        A probability, without gradient [*batch].

    Raises:
        ValueError: for `correct` that is not boolean, or a k that is known to lie outside of 1 … n.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import pass_at_k
        >>> round(float(pass_at_k(jnp.array([True, False, False, False]), k=2)), 3)
        0.5

    References:
        Chen et al., 2021, "Evaluating Large Language Models Trained on Code", arXiv:2107.03374.
    """
    check_mask(correct)
    n = correct.shape[axis]
    _check_count(k, n)
    wrong = jnp.sum(~correct, axis=axis)[..., None]
    i = jnp.arange(1, n + 1)
    # In this form no binomial coefficient can overflow; a factor of 0 stands for fewer than k wrong ones.
    factors = jnp.where(i > wrong, jnp.maximum(1 - jnp.asarray(k, float) / i, 0), 1)
    return 1 - jnp.prod(factors, axis=-1)


def majority_at_k(
    answer: Int[Array, "..."],
    correct: Bool[Array, "..."],
    *,
    k: int,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Probability that the most frequent of k answers is right (maj@k of self-consistency), without bias from n ≥ k.

    maj@k = mean over the ⌊n/k⌋ disjoint runs of k samples of Σ_j m_j·correct_j / Σ_j m_j with m_j = 1 where no answer
    is more frequent than j's, so that a tie counts by the share of its votes that are right.

    Args:
        answer: integers, equal for equal answers [*batch, sample].
        correct: whether each sample is right, equal for equal answers [*batch, sample].
        k: static; how many vote.
        axis: static; the axis of the samples.

    Returns:
        A probability, without gradient [*batch].

    Raises:
        ValueError: for `correct` that is not boolean, unfitting shapes, or a k outside of 1 … n.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import majority_at_k
        >>> answer, correct = jnp.array([7, 7, 3, 9]), jnp.array([True, True, False, False])
        >>> float(majority_at_k(answer, correct, k=2)), float(majority_at_k(answer, correct, k=4))
        (0.5, 1.0)

    References:
        Wang et al., 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models", arXiv:2203.11171.
    """
    check_mask(correct)
    shape = check_broadcast(answer=answer, correct=correct)
    n = shape[axis]
    _check_count(k, n)
    answer, correct = (jnp.moveaxis(jnp.broadcast_to(x, shape), axis, -1) for x in (answer, correct))
    voters = lambda x: x[..., : n // k * k].reshape(*x.shape[:-1], n // k, k)
    answer, correct = voters(answer), voters(correct)
    votes = jnp.sum(answer[..., :, None] == answer[..., None, :], axis=-1)
    most = votes == jnp.max(votes, axis=-1, keepdims=True)
    right = jnp.sum(most & correct, axis=-1) / jnp.sum(most, axis=-1)
    return jnp.mean(right.astype(float), axis=-1)


def _check_count(k: Scalar, n: int) -> None:
    if not isinstance(k, jax.core.Tracer) and not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} samples, got {k}")
