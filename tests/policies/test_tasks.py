import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies import sample_task, task_embedding

B, REWARD = jnp.array([[0.5, 0.5], [1.0, -1.0], [0.0, 1.0]]), jnp.array([1.0, 0.0, 2.0])


def test_embedding_oracle() -> None:
    np.testing.assert_allclose(task_embedding(B, REWARD), [0.27735, 1.38675], rtol=1e-5)
    np.testing.assert_allclose(task_embedding(B, REWARD, kind="least_squares"), [0.920358, 1.073751], rtol=1e-5)
    with pytest.raises(ValueError, match="kind must be one of 'mean', 'least_squares'"):
        task_embedding(B, REWARD, kind="median")


def test_least_squares_equals_numpy_with_a_mask(rng, float64) -> None:
    feature, reward, where = rng.normal(size=(30, 4)), rng.normal(size=30), rng.random(30) < 0.8
    options = {"kind": "least_squares", "normalize": False, "where": jnp.asarray(where)}
    z = task_embedding(jnp.asarray(feature), jnp.asarray(reward), **options)
    np.testing.assert_allclose(z, np.linalg.lstsq(feature[where], reward[where])[0], rtol=1e-9)
    ridged = task_embedding(jnp.asarray(feature), jnp.asarray(reward), **options, ridge=0.2)
    kept, count = feature[where], where.sum()
    expected = np.linalg.solve(kept.T @ kept / count + 0.2 * np.eye(4), kept.T @ reward[where] / count)
    np.testing.assert_allclose(ridged, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["mean", "least_squares"])
def test_embedding_has_the_trained_norm_and_ignores_the_scale_of_the_reward(rng, kind) -> None:
    feature, reward = jnp.asarray(rng.normal(size=(20, 9)), jnp.float32), jnp.asarray(rng.normal(size=20), jnp.float32)
    z = task_embedding(feature, reward, kind=kind)
    np.testing.assert_allclose(jnp.linalg.norm(z), 3, rtol=1e-5)
    np.testing.assert_allclose(task_embedding(feature, 70 * reward, kind=kind), z, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(task_embedding(feature, jnp.zeros(20), kind=kind), 0)


def test_dependent_features_still_fit_the_reward(rng) -> None:
    base = jnp.asarray(rng.normal(size=(20, 2)), jnp.float32)
    feature = jnp.concatenate([base, base @ jnp.array([[1.0], [-2.0]]), jnp.zeros((20, 1))], -1)
    reward = base @ jnp.array([0.3, 0.7])
    z = task_embedding(feature, reward, kind="least_squares", normalize=False)
    np.testing.assert_allclose(feature @ z, reward, atol=1e-4)


def test_sampled_tasks_are_uniform_on_the_sphere() -> None:
    z = sample_task(jax.random.key(0), (5000, 4))
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=-1), 2, rtol=1e-5)
    np.testing.assert_allclose(z.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(z.T @ z / 5000, jnp.eye(4), atol=0.06)
