"""The conditional variational autoencoder of actions."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies

SPACE = gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([1, 4]))
RNG = np.random.default_rng(0)
S = jnp.float32(RNG.normal(size=(5, 3)))
A = jnp.float32(RNG.uniform(SPACE.low, SPACE.high, (5, 2)))


@pytest.fixture(scope="module")
def made():
    autoencoder = policies.action_autoencoder(SPACE, (8,), log_std_bounds=(-0.1, 0.1))
    return autoencoder, jax.jit(autoencoder.init)(jax.random.key(0), S[0], A[0])


def numpy_mlp(params, x):
    """One hidden layer of rectified units, in float64."""
    hidden, output = (params["params"][f"Dense_{i}"] for i in range(2))
    x = np.maximum(np.float64(x) @ np.float64(hidden["kernel"]) + hidden["bias"], 0)
    return x @ np.float64(output["kernel"]) + output["bias"]


def test_encoder_and_decoder_are_the_networks_that_they_are_said_to_be(made):
    autoencoder, params = made
    mean, log_std = autoencoder.encode(params, S, A)
    expected = numpy_mlp(params["encoder"], np.concatenate([S, A], 1))
    np.testing.assert_allclose(mean, expected[:, :4], rtol=1e-4, atol=1e-6)  # twice as many codes as actions
    np.testing.assert_allclose(log_std, np.clip(expected[:, 4:], -0.1, 0.1), rtol=1e-4, atol=1e-6)
    assert (np.abs(expected[:, 4:]) > 0.1).any()

    decode = lambda code: (
        [0, 2] + np.array([1, 2]) * np.tanh(numpy_mlp(params["decoder"], np.concatenate([S, code], 1)))
    )
    key = jax.random.key(1)
    code = np.asarray(mean) + np.exp(np.asarray(log_std)) * np.asarray(jax.random.normal(key, (5, 4)))
    reconstruction, same_mean, same_log_std = autoencoder.reconstruct(params, key, S, A)
    np.testing.assert_allclose(reconstruction, decode(code), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(same_mean, mean)
    np.testing.assert_array_equal(same_log_std, log_std)
    far = autoencoder.decode(params, S, jnp.full((5, 4), 1e6))
    assert np.all(far >= SPACE.low) and np.all(far <= SPACE.high)
    other = policies.action_autoencoder(SPACE, (8,), latent_size=3)
    shapes = jax.eval_shape(lambda key: other.encode(other.init(key, S[0], A[0]), S, A), jax.random.key(0))
    assert [x.shape for x in shapes] == [(5, 3), (5, 3)]


def test_the_code_is_reparameterized_and_an_action_reaches_its_reconstruction(made):
    autoencoder, params = made
    total = lambda params, action: jnp.sum(autoencoder.reconstruct(params, jax.random.key(1), S, action)[0])
    of_params, of_action = jax.jit(jax.grad(total, argnums=(0, 1)))(params, A)
    for name in ("encoder", "decoder"):
        assert all(jnp.any(x) for x in jax.tree.leaves(of_params[name])), name
    assert jnp.all(jnp.any(of_action, axis=1))


@pytest.mark.parametrize(
    "space",
    [gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-np.inf, 1.0, (2,)), gymnasium.spaces.Box(-1.0, 1.0, (2, 2))],
)
def test_a_space_without_bounds_or_of_another_shape_is_refused(space):
    with pytest.raises(ValueError, match="action_space must be (a Box with one axis|bounded)"):
        policies.action_autoencoder(space)
