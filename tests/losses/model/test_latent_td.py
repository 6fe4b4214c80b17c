import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses import model

td_latent_prediction = jax.jit(model.td_latent_prediction)

ORACLE = (
    jnp.array([[1.0, 2.0], [0.0, 1.0]]),
    jnp.array([[0.5, 0.5], [1.0, 0.0]]),
    jnp.array([[1.0, 1.0], [2.0, 2.0]]),
    jnp.array([0.98, 0.0]),
)


def test_oracle() -> None:
    np.testing.assert_allclose(td_latent_prediction(*ORACLE), [0.5008, 2], rtol=1e-5)


def test_only_the_prediction_learns(rng, check_gradient) -> None:
    arrays = [jnp.asarray(x) for x in (*rng.normal(size=(3, 2, 4, 3)), rng.uniform(size=4))]
    where = jnp.array([True, True, False, True])
    loss = lambda prediction: td_latent_prediction(prediction, *arrays[1:], where=where)
    expected = sum((arrays[0] - arrays[1] - arrays[3][:, None] * arrays[2])[..., i] ** 2 for i in range(3)) * where
    np.testing.assert_allclose(loss(arrays[0]), expected, rtol=1e-12)
    check_gradient(jax.jit(loss), arrays[0])
    slopes = jax.grad(lambda *x: td_latent_prediction(*x).sum(), (1, 2, 3))(*arrays)
    assert not any(np.any(x) for x in slopes)


def test_with_one_hot_features_it_learns_the_successor_representation(float64) -> None:
    step, gamma = jnp.eye(3)[jnp.array([1, 2, 0])] * 0.6 + 0.4 / 3, 0.9
    discount = jnp.full(3, gamma)
    exact = step @ jnp.linalg.inv(jnp.eye(3) - gamma * step)

    def expected_loss(prediction, target):
        per_pair = jax.vmap(
            lambda next_state: td_latent_prediction(
                prediction, jnp.eye(3)[next_state][None], target[next_state][None], discount
            )
        )(jnp.arange(3))
        return jnp.sum(step.T * per_pair)

    learn = lambda prediction, _: (prediction - jax.grad(expected_loss)(prediction, prediction) / 2, None)
    learned, _ = jax.lax.scan(learn, jnp.zeros((3, 3)), length=200)
    np.testing.assert_allclose(learned, exact, rtol=1e-6)
