"""Learners from a dataset of discrete actions, on the chain whose far end pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rlx
from rlx import data, envs, policies, recipes
from rlx.recipes import offline
from rlx.recipes.datasets import collect
from rlx.training.interaction import uniform_actions

LENGTH = 8
STATES = jnp.eye(LENGTH)
SMALL = {"hidden_sizes": (16,), "batch_size": 64, "learning_rate": 1e-2, "normalize_observation": False}
METHODS = {
    "bc": {},
    "iql": {"critic_learning_rate": 1e-2, "beta": 10.0, "tau": 0.05, "reward_scaling": "none", "discount": 0.9},
    "cql": {"critic_learning_rate": 1e-2, "tau": 0.05, "weight": 0.05, "discount": 0.9},
    "odice": {"critic_learning_rate": 1e-2, "critic_hidden_sizes": (16,), "tau": 0.05},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Random actions on the chain, from both of its ends since the walls hold."""
    environment = envs.make("rlx:chain")
    made = collect(environment, uniform_actions(environment.action_space), jax.random.key(0), 6000, 4)
    assert np.bincount(np.argmax(made.observation, axis=1), minlength=LENGTH).min() > 50
    path = tmp_path_factory.mktemp("data") / "chain.hdf5"
    data.write_dataset(path, made, {"env": "rlx:chain"})
    return str(path)


def trained(name, dataset, steps, **changes):
    values = SMALL | METHODS[name] | {"total_steps": steps, "updates_per_step": steps} | changes
    train = rlx.make_train(name, dataset=dataset, **values)
    state, metrics = jax.jit(train)(jax.random.key(0))
    recipe = recipes.recipe(name)
    config = recipe.configure(dataset=dataset, **values)
    learner = recipe.make_learner(config, recipe.make_environment(config), num_updates=1)
    return learner, state.learner, metrics


@pytest.mark.parametrize("name", ["iql", "cql"])
def test_it_learns_to_walk_to_the_far_end_from_random_steps(dataset, name):
    learner, state, metrics = trained(name, dataset, 1500)
    assert learner.mode(state, STATES)[1:].tolist() == [1] * (LENGTH - 1)
    assert all(np.isfinite(x).all() for x in metrics.values())


@pytest.mark.parametrize(
    "name", ["cql", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bc", "odice", "iql"))]
)
def test_actions_are_of_the_space_and_have_probabilities(dataset, name):
    learner, state, _ = trained(name, dataset, 2)
    action, _ = learner.act(state, STATES, jax.random.key(1))
    assert action.shape == (LENGTH,) and action.dtype == jnp.int32 and set(action.tolist()) <= {0, 1}
    both = [learner.log_prob(state, STATES, jnp.full(LENGTH, a)) for a in (0, 1)]
    np.testing.assert_allclose(np.sum(np.exp(both), axis=0), 1.0, rtol=1e-5)


def test_cloning_finds_the_shares_of_the_data(dataset):
    learner, state, _ = trained("bc", dataset, 800)
    shares = np.exp(learner.log_prob(state, STATES, jnp.ones(LENGTH, int)))
    made = data.read_dataset(dataset).dataset
    where = np.argmax(made.observation, axis=1)
    expected = [np.mean(np.asarray(made.action)[where == s]) for s in range(LENGTH)]
    np.testing.assert_allclose(shares, expected, atol=0.12)


def test_what_the_data_never_did_is_worth_less_with_the_conservative_gap(tmp_path):
    """Action 1 is in no row: its value is that of the network's beginning, or pushed below."""
    rows = 40
    observation = STATES[np.zeros(rows, int)]
    made = data.make_dataset(
        observation, np.zeros(rows, int), np.ones(rows), observation, np.ones(rows), np.zeros(rows)
    )
    data.write_dataset(tmp_path / "one.hdf5", made, {"env": "rlx:chain"})
    values = {}
    for weight in (0.0, 1.0):
        _, state, _ = trained("cql", str(tmp_path / "one.hdf5"), 300, weight=weight)
        network = policies.q_network(envs.make("rlx:chain").action_space, (16,), initialization="uniform")
        values[weight] = network.apply(state.params, STATES[0])
    assert values[1.0][0] - values[1.0][1] > values[0.0][0] - values[0.0][1] + 0.5


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("cql", {"gap_target": 1.0}, "gap_target must be None where actions are discrete"),
        ("cql", {"bisimulation_weight": 1.0}, "bisimulation_weight must be None"),
        ("cal_ql", {}, "Cal-QL learns continuous actions"),
        ("td3_bc", {}, "action_space must be a Box"),
    ],
)
def test_what_needs_continuous_actions_says_so(dataset, name, changes, message):
    recipe = recipes.recipe(name)
    config = recipe.configure(dataset=dataset, **changes)
    with pytest.raises(ValueError, match=message):
        recipe.make_learner(config, recipe.make_environment(config), num_updates=1, data=offline.load(config))
