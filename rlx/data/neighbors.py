"""Retrieval of a dataset's nearest rows."""

from jaxtyping import Array, Float, Int

from rlx.nearest import nearest_rows
from rlx.types import floating


def nearest_neighbor(
    query: Float[Array, "*batch feature"], keys: Float[Array, "row feature"], *, k: int = 1, chunk: int | None = None
) -> tuple[Int[Array, "*batch k"], Float[Array, "*batch k"]]:
    """The k rows of a dataset nearest to each query, in memory that does not grow with the dataset (PRDC).

    index = the k smallest of ‖query − keys_i‖ over all rows i, nearest first, the lower row first among equals.
    Candidates come from a matrix product and are compared again by the exact distance, so that rounding flips
    no near ties.

    Args:
        query: points [*batch, feature]; a constant.
        keys: the dataset's rows [row, feature], on the same scale; a constant.
        k: static; number of neighbors.
        chunk: static; rows compared at a time, None for all: memory is about the product of queries and chunk.

    Returns:
        Row numbers [*batch, k] and Euclidean distances [*batch, k], without gradient.

    Raises:
        ValueError: for `k` or `chunk` out of range, a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import nearest_neighbor
        >>> keys = jnp.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
        >>> index, distance = nearest_neighbor(jnp.zeros((1, 2)), keys, k=2)
        >>> index.tolist(), distance.tolist()
        ([[1, 2]], [[1.0, 2.0]])

    References:
        Ran et al., 2023, "Policy Regularization with Dataset Constraint for Offline Reinforcement Learning",
        arXiv:2306.06569 (with a tree in place of the exhaustive search).
    """
    query, keys = floating(query=query, keys=keys)
    return nearest_rows(query, keys, k=k, chunk=chunk)
