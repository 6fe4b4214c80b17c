"""Gradients of two losses, combined so that one does not undo the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rlx.types import Scalar, elements


def orthogonalize(
    forward: PyTree[Float[Array, "..."]], backward: PyTree[Float[Array, "..."]], *, eps: Scalar = 1e-10
) -> PyTree[Float[Array, "..."]]:
    """Sum of two gradients, the second without its part along the first (ODICE).

    g = g_f + g_b − (⟨g_f, g_b⟩ / max(⟨g_f, g_f⟩, eps))·g_f, with inner products over all parameters at once: not
    per layer, nor per sample. Then g − g_f is orthogonal to g_f.

    Args:
        forward: g_f, a gradient of a loss averaged over the batch; an array or a pytree of arrays.
        backward: g_b of the same structure.
        eps: least squared norm that is divided by.

    Returns:
        The combined gradient, of the same structure.

    Raises:
        ValueError: for arrays that are not floating, or structures or shapes that differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.transforms import orthogonalize
        >>> orthogonalize(jnp.array([1.0, 0.0]), jnp.array([-2.0, 3.0])).tolist()
        [1.0, 3.0]

    References:
        Mao et al., 2024, "ODICE: Revealing the Mystery of Distribution Correction Estimation via
        Orthogonal-gradient Update", arXiv:2402.00348.
    """
    pairs = jax.tree.map(lambda f, b: elements(forward=f, backward=b), forward, backward)
    structure = jax.tree.structure(forward)
    pairs = structure.flatten_up_to(pairs)

    def inner(terms: list[tuple[Array, Array]]) -> Array:
        wide = [(x.astype(jnp.promote_types(x.dtype, jnp.float32)), y) for x, y in terms]
        return sum(jnp.sum(x * y) for x, y in wide)

    along = inner(pairs) / jnp.maximum(inner([(f, f) for f, _ in pairs]), eps)
    return structure.unflatten([f + (b - along.astype(f.dtype) * f) for f, b in pairs])
