"""What D4RL's datasets ask of learners, by their names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import data, recipes
from rlx.algorithms.learner import Transition
from rlx.recipes import offline
from rlx.recipes.presets.dataset_names import dataset_name


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/data/antmaze-umaze-v2.hdf5", "antmaze-umaze"),
        ("/data/pen/log.hdf5", None),
        ("Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5", "antmaze-umaze-diverse"),
        ("/home/me/.minari/datasets/D4RL/kitchen/complete-v2", "kitchen-complete"),
        ("antmaze/umaze-v1", None),
        ("", None),
    ],
)
def test_a_dataset_is_known_by_its_path(path, expected):
    assert dataset_name(path) == expected


@pytest.fixture
def named(tmp_path):
    """A small file of a name, with rewards of 0 and 1."""

    def write(name):
        rows = np.arange(12)
        observation = rows[:, None] / 12.0
        reward = (rows % 6 == 5).astype(float)
        made = data.make_dataset(observation, observation, reward, observation, rows % 6 == 5, np.zeros(12))
        path = tmp_path / f"{name}.hdf5"
        data.write_dataset(path, made)
        return str(path)

    return write


@pytest.mark.parametrize(
    "learner, name, rewards, expected",
    [
        ("iql", "antmaze-medium-play-v2", {-1.0, 0.0}, {"expectile": 0.9, "beta": 10.0, "mixing_ratio": None}),
        ("iql", "pen-human-v1", {0.0, 1.0}, {"expectile": 0.7, "beta": 0.5}),
        ("odice", "antmaze-medium-play-v2", {-3.0, 0.0}, {"num_values": 2, "value_layer_norm": False}),
        ("odice", "antmaze-large-play-v2", {-3.0, 0.0}, {"num_values": 1, "value_layer_norm": False}),
        ("odice", "antmaze-umaze-diverse-v0", {-3.0, 0.0}, {"num_values": 1}),
        ("odice", "antmaze-umaze-v0", {-3.0, 0.0}, {"num_values": 2}),
        ("rebrac", "antmaze-medium-diverse-v2", {0.0, 100.0}, {"critic_beta": 0.0, "discount": 0.999}),
        ("rebrac", "antmaze-umaze-v0", {0.0, 100.0}, {"actor_beta": 0.003, "critic_beta": 0.002}),
        ("odice", "kitchen-mixed-v0", {0.0, 1.0}, {"num_values": 2, "value_layer_norm": True}),
    ],
)
def test_rewards_and_networks_are_those_of_the_authors_code(named, learner, name, rewards, expected):
    config = recipes.recipe(learner).configure(dataset=named(name))
    assert {field: getattr(config, field) for field in expected} == expected
    assert set(np.asarray(offline.load(config).dataset.reward).tolist()) == rewards


def test_other_datasets_and_given_values_are_left_alone(named):
    recipe = recipes.recipe("odice")
    assert recipe.configure(dataset=named("mine")).reward_scaling == "return_range"
    assert recipe.configure(dataset=named("antmaze-large-play-v2"), num_values=2).num_values == 2


@pytest.mark.parametrize("num_values, layer_norm", [(1, False), (2, True)])
def test_o_dice_has_so_many_values_with_or_without_normalization(named, num_values, layer_norm):
    recipe = recipes.recipe("odice")
    config = recipe.configure(
        dataset=named("mine"), num_values=num_values, value_layer_norm=layer_norm, hidden_sizes=(4,),
        critic_hidden_sizes=(4,), normalize_observation=False, env="rlx:pendulum",
    )  # fmt: skip
    environment = recipe.make_environment(config)
    learner = recipe.make_learner(config, environment, num_updates=1, data=offline.load(config))
    observation, nothing = jnp.zeros((1, *environment.observation_space.shape)), jnp.zeros(1)
    batch = Transition(observation, jnp.zeros((1, 1)), nothing, nothing > 0, nothing > 0, observation, {})
    params = learner.init(jax.random.key(0), batch).params["value"]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    assert {x.shape[0] for _, x in leaves} == {num_values}
    assert any("LayerNorm" in jax.tree_util.keystr(path) for path, _ in leaves) == layer_norm
