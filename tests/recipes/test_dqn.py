"""DQN and PQN as recipes: presets, what their networks see, sweeps, and what a config says of a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rlx
from rlx import envs, recipes
from rlx.recipes import dqn, pqn
from rlx.recipes.settings import SettingError, settings

TINY = dict(env="rlx:chain", num_envs=4, hidden_sizes=(8,), eval_episodes=2)
TINY_DQN = TINY | dict(total_steps=64, batch_size=8, buffer_size=64, warmup_steps=16)
TINY_PQN = TINY | dict(total_steps=64, unroll_length=8, num_minibatches=2)


@pytest.mark.parametrize("module", [dqn, pqn])
def test_presets_name_environments_and_fields_that_there_are(module):
    fields = {field.name for field in dataclasses.fields(module.Config)}
    assert module.Config().env in module.PRESETS and set(module.PRESETS) <= set(envs.names())
    for env, preset in module.PRESETS.items():
        assert preset.source and set(preset.overrides) <= fields
        assert module.RECIPE.configure(env=env).num_updates > 1
    assert settings(module.Config)["epsilon_end"].swept and not settings(module.Config)["dueling"].swept


def test_pqn_has_the_hyperparameters_of_its_code():
    """purejaxql at 47af6d7: config/alg/pqn_minatar.yaml and config/alg/pqn_cartpole.yaml."""
    scale = ("total_steps", "num_envs", "unroll_length", "num_minibatches", "update_epochs")
    exploring = ("epsilon_start", "epsilon_end", "exploration_fraction")
    learning = ("learning_rate", "learning_rate_schedule", "max_grad_norm", "discount", "q_lambda", "reward_scale")
    names = (*scale, *exploring, *learning, "layer_norm", "hidden_sizes")
    of = lambda env: tuple(getattr(pqn.RECIPE.configure(env=env), name) for name in names)
    minatar = (10_000_000, 128, 32, 32, 2, 1.0, 0.05, 0.1, 5e-4, "linear", 10, 0.99, 0.65, 1.0, True, (128,))
    cartpole = (500_000, 32, 64, 16, 4, 1.0, 0.2, 0.2, 1e-4, "linear", 10, 0.99, 0.95, 0.1, True, (256, 256))
    assert of("gymnax:Asterix-MinAtar") == minatar and of("gymnax:CartPole-v1") == cartpole


@pytest.mark.parametrize("name", ["dqn", "pqn"])
def test_images_are_convolved_and_other_observations_are_vectors(name):
    recipe = recipes.recipe(name)

    def parameters(env):
        program = recipes.make_program(recipe, recipe.configure(env=env, dueling=True))
        return jax.eval_shape(program.init, jax.random.key(0)).params["params"]

    assert parameters("gymnax:Breakout-MinAtar")["Conv_0"]["kernel"].shape == (3, 3, 4, 16)
    assert "Conv_0" not in parameters("gymnax:CartPole-v1")
    with pytest.raises(ValueError, match="Discrete"):
        parameters("rlx:pendulum")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tiny"), [("dqn", TINY_DQN | dict(n_step=3)), ("pqn", TINY_PQN)])
def test_numbers_may_be_swept_and_one_of_them_counts(name, tiny):
    """Runs with values side by side are those of each value alone."""

    def run(rate, epsilon):
        train = rlx.make_train(name, **tiny, learning_rate=rate, epsilon_end=epsilon, exploration_fraction=0.5)
        state, metrics = train(jax.random.key(0))
        return state.params, metrics["epsilon"]

    rates, epsilons = jnp.array([1e-2, 1e-3]), jnp.array([0.0, 0.4])
    params, epsilon = jax.jit(jax.vmap(run))(rates, epsilons)
    alone, _ = jax.jit(run)(rates[1], epsilons[1])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1], y, rtol=1e-4, atol=1e-5), params, alone)
    kernels = [x for x in jax.tree.leaves(params) if x.ndim == 3]
    assert all(not np.allclose(x[0], x[1]) for x in kernels)
    np.testing.assert_allclose(epsilon[:, -1], epsilons, atol=1e-6)
    # It is down after half of the 64 steps, those of the warm-up among them.
    assert np.all(epsilon[0, :-1] >= epsilon[0, 1:])


def test_a_replay_of_one_step_is_that_of_before():
    """The option changes neither what is stored nor what is drawn where it is not used."""
    config = dqn.RECIPE.configure(**TINY_DQN)
    state = jax.jit(recipes.make_program(dqn.RECIPE, config).init)(jax.random.key(0))
    assert jax.tree.leaves(state.source.past.experience.observation)[0].shape == (1, 64, 8)
    assert int(state.learner.env_steps) == config.initial_steps == 16


def test_a_config_counts_its_updates_and_refuses_what_cannot_be():
    assert dqn.Config(**TINY_DQN).num_updates == (64 - 16) // 4
    assert pqn.Config(**TINY_PQN).num_updates == 64 // 32
    for module, wrong in ((dqn, dict(epsilon_end=1.5)), (pqn, dict(exploration_fraction=0.0)), (dqn, dict(n_step=0))):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            module.Config(**wrong)
