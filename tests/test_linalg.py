import jax
import jax.numpy as jnp
import numpy as np

from rlx.linalg import solve_positive


def test_equals_numpy_and_finite_differences_also_in_batches(rng, check_gradient) -> None:
    root, right = rng.normal(size=(3, 5, 7)), rng.normal(size=(3, 5, 2))
    matrix = root @ np.swapaxes(root, 1, 2)
    solution = jax.vmap(solve_positive)(jnp.asarray(matrix), jnp.asarray(right))
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-8)
    gram = lambda root, right: solve_positive(root @ root.T, right)
    check_gradient(jax.jit(gram), jnp.asarray(root[0]), jnp.asarray(right[0]))


def test_a_singular_system_that_has_solutions_gets_one(rng) -> None:
    root = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    matrix = root @ root.T
    right = matrix @ jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)
    solution = solve_positive(matrix, right)
    np.testing.assert_allclose(matrix @ solution, right, atol=2e-4)


def test_ill_conditioned_float32_is_as_good_as_lapack(rng) -> None:
    basis, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    matrix = (basis * np.logspace(0, -4, 20)) @ basis.T
    exact = rng.normal(size=(20, 1))
    right = matrix @ exact
    solution = solve_positive(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32))
    lapack = np.linalg.solve(matrix.astype(np.float32), right.astype(np.float32))
    assert np.abs(solution - exact).max() < 10 * np.abs(lapack - exact).max() + 1e-4
