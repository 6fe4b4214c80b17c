"""Networks of off-policy methods: bounds, ensembles, initializations."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies

BOX = gymnasium.spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, 6.0], np.float32))
OBSERVATION = jnp.linspace(-3.0, 3.0, 5)


def layers(network, *inputs):
    return network.init(jax.random.key(0), *inputs)["params"]


def test_deterministic_actions_fill_their_bounds_and_stay_within():
    network = policies.deterministic(BOX, (16,))
    params = network.init(jax.random.key(0), OBSERVATION)
    wild = jax.tree.map(lambda x: 100 * x, params)
    actions = network.apply(wild, jax.random.normal(jax.random.key(1), (200, 5)))
    np.testing.assert_allclose(actions.min(0), BOX.low, atol=1e-3)
    np.testing.assert_allclose(actions.max(0), BOX.high, atol=1e-3)
    nothing = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_allclose(network.apply(nothing, OBSERVATION), [0.0, 2.0], atol=1e-6)
    with pytest.raises(ValueError, match="must be bounded"):
        policies.deterministic(gymnasium.spaces.Box(-np.inf, np.inf, (2,)))


def test_the_members_of_an_ensemble_differ_and_a_part_of_it_is_an_ensemble():
    network = policies.action_critic((16,), num=5)
    action = jnp.array([0.3, -0.2])
    params = network.init(jax.random.key(0), OBSERVATION, action)
    values = network.apply(params, OBSERVATION, action)
    assert values.shape == (5,) and len(np.unique(values)) == 5
    some = network.apply(jax.tree.map(lambda x: x[1:3], params), OBSERVATION, action)
    np.testing.assert_allclose(some, values[1:3], rtol=1e-5)


def test_uniform_initialization_is_that_of_the_inputs_of_a_layer():
    first, last = layers(policies.deterministic(BOX, (400,)), OBSERVATION).values()
    for layer, inputs in ((first, 5), (last, 400)):
        for values in layer.values():
            bound = 1 / np.sqrt(inputs)
            assert np.abs(values).max() <= bound and values.size < 100 or np.abs(values).max() > 0.95 * bound
    np.testing.assert_allclose(first["kernel"].std(), 1 / np.sqrt(3 * 5), rtol=0.05)
    hidden, output = layers(
        policies.deterministic(BOX, (400,), hidden_bias=0.1, output_bound=1e-3), OBSERVATION
    ).values()
    np.testing.assert_allclose(hidden["bias"], 0.1)
    assert np.abs(output["kernel"]).max() <= 1e-3 and 0 < np.abs(output["bias"]).max() <= 1e-3
    first, last = layers(policies.deterministic(BOX, (400,), initialization="lecun_uniform"), OBSERVATION).values()
    for layer, inputs in ((first, 5), (last, 400)):
        np.testing.assert_allclose(np.abs(layer["kernel"]).max(), np.sqrt(3 / inputs), rtol=0.05)
        assert not layer["bias"].any()
    with pytest.raises(ValueError, match="one of 'orthogonal', 'uniform', 'lecun_uniform', got 'normal'"):
        layers(policies.deterministic(BOX, initialization="normal"), OBSERVATION)


def test_normalization_comes_before_or_after_the_activation():
    torso = lambda **options: policies.torso((64,), activation="relu", layer_norm=True, **options)
    before, after = (
        network.apply(network.init(jax.random.key(0), OBSERVATION), OBSERVATION)
        for network in (torso(), torso(normalize_after=True))
    )
    assert (before >= 0).all()
    np.testing.assert_allclose([after.mean(), after.std()], [0, 1], atol=1e-3)


@pytest.mark.parametrize("state_dependent_std", [False, True])
def test_the_logarithm_of_a_scale_has_bounds(state_dependent_std):
    def policy(bounds, initial_std=0.5):
        network = policies.gaussian_policy(
            BOX,
            (8,),
            state_dependent_std=state_dependent_std,
            log_std_bounds=bounds,
            initial_std=initial_std,
            output_scale=1e-6,
        )
        return network.apply(network.init(jax.random.key(0), OBSERVATION), OBSERVATION).base.base_dist.scale

    np.testing.assert_allclose(policy((-20.0, 2.0)), 0.5, rtol=1e-4)
    np.testing.assert_allclose(policy((-20.0, -1.0)), np.exp(-1), rtol=1e-5)
    np.testing.assert_allclose(policy((0.0, 2.0)), 1.0, rtol=1e-5)


def test_a_bounded_mean_stays_within_the_actions():
    network = policies.gaussian_policy(BOX, (8,), bounded_mean=True, output_scale=100.0)
    means = network.apply(
        network.init(jax.random.key(0), OBSERVATION), jax.random.normal(jax.random.key(1), (100, 5))
    ).mode()
    np.testing.assert_allclose([means.min(0), means.max(0)], [BOX.low, BOX.high], atol=0.05)
