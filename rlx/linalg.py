"""Linear algebra of small matrices in plain array operations, so that it runs under `vmap` on every device."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def solve_positive(matrix: Float[Array, "n n"], right: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Solution of linear systems whose matrix is symmetric and positive semi-definite.

    Gauss-Jordan elimination, which needs no pivoting for such a matrix. A coordinate that the previous ones
    determine (a pivot of the size of rounding) is left at 0: where the matrix is singular and the system has
    solutions, this is one of them. Batches of LAPACK calls can deadlock on a CPU of few cores.

    Args:
        matrix: symmetric positive semi-definite matrix A [n, n].
        right: right-hand sides B [n, k].

    Returns:
        X [n, k] with A·X = B, in the dtype of the matrix.

    References:
        Higham, 2002, "Accuracy and Stability of Numerical Algorithms" (section 14.4).
    """
    size = len(matrix)
    rounding = size * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.diagonal(matrix))

    def eliminate(i: Array, system: Array) -> Array:
        row, column = system[i], system[:, i]
        row = jnp.where(row[i] > rounding, row / row[i], 0)
        return (system - column[:, None] * row).at[i].set(row)

    def solve(_: object, right: Array) -> Array:
        system = jnp.concatenate([lax.stop_gradient(matrix), right], -1)
        return lax.fori_loop(0, size, eliminate, system)[:, size:]

    return lax.custom_linear_solve(
        lambda x: jnp.matmul(matrix, x, precision=lax.Precision.HIGHEST), right, solve, symmetric=True
    )
