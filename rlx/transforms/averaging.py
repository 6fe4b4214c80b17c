"""Averages of the parameters of several models."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import Scalar, like


def average_parameters(params: Any, other_params: Any, *, weight: Scalar = 0.5) -> Any:
    """Weighted average of the parameters of two models, such as the reference of an alignment run (SALSA).

    θ = w·θ₁ + (1 − w)·θ₂, leaf by leaf, in at least float32. The models must come from one initialization:
    between others the average is no model.

    Args:
        params: pytree θ₁.
        other_params: pytree θ₂ of the same structure.
        weight: share w of the first; 1 gives it back exactly.

    Returns:
        Pytree of the dtypes of `params`; leaves that are not floating, such as step counters, are those of
        `params`.

    Raises:
        ValueError: if the structures differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.transforms import average_parameters
        >>> average_parameters({"w": jnp.array([1.0])}, {"w": jnp.array([3.0])}, weight=0.25)
        {'w': Array([2.5], dtype=float32)}

    References:
        Chegini et al., 2024, "SALSA: Soup-based Alignment Learning for Stronger Adaptation in RLHF",
        arXiv:2411.01798.

    Reconstruction:
        The abstract names a weight-space average of two fine-tuned models; the formula is elementary.
    """

    def average(x: Array, other: Array) -> Array:
        x, other = jnp.asarray(x), jnp.asarray(other)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        wide, wide_other = (y.astype(jnp.promote_types(x.dtype, jnp.float32)) for y in (x, other))
        (share,) = like(wide, weight)
        return (wide + (1 - share) * (wide_other - wide)).astype(x.dtype)

    return jax.tree.map(average, params, other_params)


def soup(params_stack: Any, *, weight: Float[Array, " models"] | None = None) -> Any:
    """Model soup: the weighted average of the parameters of any number of models.

    θ = Σ_i w_i·θ_i / Σ_i w_i, leaf by leaf, in at least float32.

    Args:
        params_stack: pytree of leaves [model, ...], such as of models trained under `vmap`.
        weight: weights w [model] with a sum other than 0; None weighs all alike.

    Returns:
        Pytree of the leaves' dtypes without the leading axis; leaves that are not floating are those of the
        first model.

    Raises:
        ValueError: if a leaf has another number of models than `weight`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.transforms import soup
        >>> soup({"w": jnp.array([[1.0], [3.0]])}, weight=jnp.array([3.0, 1.0]))
        {'w': Array([1.5], dtype=float32)}

    References:
        Wortsman et al., 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy
        without increasing inference time", arXiv:2203.05482.
        Chegini et al., 2024, "SALSA: Soup-based Alignment Learning for Stronger Adaptation in RLHF",
        arXiv:2411.01798.
    """

    def average(stack: Array) -> Array:
        stack = jnp.asarray(stack)
        if not jnp.issubdtype(stack.dtype, jnp.floating):
            return stack[0]
        wide = stack.astype(jnp.promote_types(stack.dtype, jnp.float32))
        if weight is None:
            return jnp.mean(wide, 0).astype(stack.dtype)
        if jnp.shape(weight) != (len(stack),):
            raise ValueError(f"weight must have shape ({len(stack)},), one per model, got {jnp.shape(weight)}")
        (share,) = like(wide, weight)
        return (jnp.tensordot(share, wide, 1) / jnp.sum(share)).astype(stack.dtype)

    return jax.tree.map(average, params_stack)
