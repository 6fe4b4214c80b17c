"""Every recipe: what its fields say, its slots, and whole runs as functions of a key."""

import dataclasses
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rlx
from rlx import envs, policies, recipes
from rlx.algorithms.actor_critic import Slots
from rlx.envs.episodes import EpisodicEnvironment
from rlx.recipes.settings import GROUPS, SettingError, checked, settings, type_hints

pytestmark = pytest.mark.long(minutes=0.7)

NAMES = [*recipes.RECIPES, *recipes.VARIANTS]
TINY = dict(env="rlx:pendulum", max_episode_steps=6, eval_episodes=1, hidden_sizes=(8,))
ON_POLICY = TINY | dict(num_envs=4, unroll_length=4, num_minibatches=2, update_epochs=1, total_steps=32)
OFF_POLICY = TINY | dict(num_envs=4, updates_per_step=2, batch_size=4, buffer_size=100, warmup_steps=8, total_steps=16)


@pytest.mark.parametrize("name", NAMES)
def test_fields_say_what_they_are(name):
    recipe = recipes.recipe(name)
    hints = type_hints(recipe.config)
    assert recipe.name == name and recipe.title and all(line.startswith("rlx ") for line in recipe.examples)
    for field, said in settings(recipe.config).items():
        assert said.help.endswith(".") and not "a" <= said.help[0] <= "z", (field, said.help)
        # A sentence that begins with a pronoun needs the sentence of another field to be understood.
        assert not re.match(r"(It|They|This|These|Its|Their|Of|There)\b", said.help), (field, said.help)
        assert said.group in (*GROUPS, ""), (field, said.group)
        default = recipe.config.__dataclass_fields__[field].default
        checked(field, default, hints[field], said)
        numeric = {int, float} & {hints[field], *typing.get_args(hints[field])}
        assert not said.swept or numeric, f"{field} is swept but is no number"


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_values_that_the_fields_take(name):
    recipe = recipes.recipe(name)
    for env, preset in recipe.presets.items():
        assert preset.source and recipe.config(**preset.overrides), env


def test_unknown_arguments_and_values_get_one_line():
    with pytest.raises(recipes.UnknownAlgorithm, match="no algorithm 'pop'; did you mean ppo"):
        rlx.make_train("pop")
    with pytest.raises(TypeError, match="ppo has no argument 'surogate'; did you mean surrogate"):
        rlx.make_train("ppo", surogate=None)
    with pytest.raises(SettingError, match=r"discount must be in \[0, 1\], got 2"):
        rlx.make_train("sac", discount=2)


def test_every_part_of_ppo_is_a_slot():
    """A policy, a critic, an optimizer, a surrogate, a value loss and an environment of one's own, all at once."""
    seen = []
    environment = envs.make("rlx:pendulum", max_episode_steps=6)
    policy = policies.policy(environment.action_space, (4,))
    noting = policies.Network(policy.init, lambda params, x: (seen.append("policy"), policy.apply(params, x))[1])
    critic = policies.critic((4,))
    value_loss = lambda batch: (seen.append("value_loss"), (batch.value - batch.target) ** 2)[1]
    surrogate = lambda batch: (seen.append("surrogate"), -batch.advantage * jnp.exp(batch.log_prob))[1]
    train = rlx.make_train(
        "ppo",
        **ON_POLICY | {"env": "rlx:bandit"},
        environment=environment,
        policy=noting,
        critic=critic,
        optimizer=optax.sgd(1e-3),
        surrogate=surrogate,
        value_loss=value_loss,
    )
    state, metrics = jax.jit(train)(jax.random.key(0))
    assert {"policy", "value_loss", "surrogate"} <= set(seen)
    assert jax.tree.leaves(state.params["critic"])[0].shape[-1] in (1, 4) and np.isfinite(metrics["policy_loss"]).all()
    assert state.source.observation.shape == (4, 3)  # the pendulum's, not the bandit's


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac", "td3"])
def test_networks_and_optimizers_are_slots_of_off_policy_recipes(name):
    environment = envs.make("rlx:pendulum")
    options = dict(activation="relu", initialization="uniform")
    policy = (
        policies.policy(environment.action_space, (5,), kind="tanh", **options)
        if name == "sac"
        else policies.deterministic(environment.action_space, (5,))
    )
    train = rlx.make_train(
        name,
        **OFF_POLICY,
        policy=policy,
        critic=policies.action_critic((7,)),
        optimizer=optax.sgd(0.0),
        added=(Slots(critic_penalty=lambda step: 7.0 + 0.0 * step.q),),
    )
    state, metrics = jax.jit(train)(jax.random.key(0))
    np.testing.assert_allclose(metrics["critic_penalty"], 14.0, rtol=1e-6)  # of two critics
    widths = {leaf.shape[-1] for leaf in jax.tree.leaves(state.params["actor"])}
    assert 5 in widths and 7 in {leaf.shape[-1] for leaf in jax.tree.leaves(state.params["critic"])}


def test_a_task_of_ones_own_trains():
    """An environment is anything with `reset` and `step`; a bare task becomes one by `rlx.envs`."""

    class Task:
        name = "mine"
        observation_space = envs.make("rlx:pendulum").observation_space
        action_space = envs.make("rlx:pendulum").action_space
        max_episode_steps = 6
        host = False

        def __init__(self):
            self.inner = envs.make("rlx:pendulum", max_episode_steps=6)

        def reset(self, key):
            return self.inner.reset(key)

        def step(self, state, action, key):
            return self.inner.step(state, action, key)

    assert not isinstance(Task(), EpisodicEnvironment)
    _, metrics = jax.jit(rlx.make_train("ppo", **ON_POLICY, environment=Task()))(jax.random.key(0))
    assert np.isfinite(metrics["policy_loss"]).all()


@pytest.mark.slow
def test_settings_of_a_sweep_may_be_traced():
    train = lambda rate, key: rlx.make_train("ppo", **ON_POLICY, learning_rate=rate)(key)[0].params
    swept = jax.jit(jax.vmap(train, in_axes=(0, None)))(jnp.array([1e-4, 1e-2]), jax.random.key(0))
    first, second = (jax.tree.map(lambda x: x[i], swept) for i in range(2))
    alone = jax.jit(train)(1e-2, jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), second, alone)
    assert not np.allclose(jax.tree.leaves(first)[-1], jax.tree.leaves(second)[-1])


@pytest.mark.parametrize("env", ["gymnax:CartPole-v1", "rlx:point_maze"])
def test_an_environment_may_be_made_within_a_trace(env):
    """The sweep of the README makes its run, environment included, inside of `jit` and `vmap`."""
    train = lambda rate, key: rlx.make_train("ppo", **ON_POLICY | {"env": env}, learning_rate=rate)(key)[1][
        "policy_loss"
    ]
    losses = jax.jit(jax.vmap(train, in_axes=(0, None)))(jnp.array([1e-4, 1e-2]), jax.random.key(0))
    assert losses.shape == (2, 2) and np.isfinite(losses).all()


class Privileged:
    """The pendulum with a speed that only `privileged_state` shows."""

    name, max_episode_steps, host, time_step, action_repeat = "mine", 6, False, None, 1

    def __init__(self):
        from gymnasium import spaces

        self.inner = envs.make("rlx:pendulum", max_episode_steps=6)
        self.action_space = self.inner.action_space
        box = lambda size: spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.observation_space = spaces.Dict(state=box(2), privileged_state=box(3))

    def split(self, x):
        return {"state": x[:2], "privileged_state": x}

    def reset(self, key):
        state, observation = self.inner.reset(key)
        return state, self.split(observation)

    def step(self, state, action, key):
        state, step = self.inner.step(state, action, key)
        return state, step._replace(
            observation=self.split(step.observation), next_observation=self.split(step.next_observation)
        )


def test_a_critic_may_see_what_the_policy_never_does():
    train = rlx.make_train("ppo", **ON_POLICY, environment=Privileged(), normalize_observation=True)
    state, _ = jax.jit(train)(jax.random.key(0))
    first_kernel = lambda part: next(x for x in jax.tree.leaves(state.params[part]) if x.ndim == 2)
    assert first_kernel("policy").shape[0] == 2 and first_kernel("critic").shape[0] == 5
    assert set(state.learner.observation_moments.mean) == {"state", "privileged_state"}


def test_what_a_network_sees_must_exist():
    with pytest.raises(ValueError, match="parts of an observation must be among"):
        rlx.make_train("ppo", **ON_POLICY, environment=Privileged(), policy_sees=("stat",))
    with pytest.raises(ValueError, match="it is no mapping"):
        rlx.make_train("ppo", **ON_POLICY, policy_sees=("state",))


def test_fields_shared_by_recipes_are_written_once():
    """A field of the same name means the same: the same help, unless its class says otherwise on purpose."""
    ppo, sac = (recipes.recipe(name).config for name in ("ppo", "sac"))
    shared = {name for name in settings(ppo) if name in settings(sac)}
    assert {"max_episode_steps", "action_repeat", "eval_episodes", "policy_sees"} <= shared
    for name in ("max_episode_steps", "action_repeat", "backend", "eval_episodes", "max_eval_steps"):
        assert settings(ppo)[name] is settings(sac)[name]
    assert dataclasses.is_dataclass(ppo)
