"""Recurrent PPO: what it learns from is what acted, and each step is valued with the memory that it had."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rlx
from rlx import envs, policies
from rlx.algorithms import ppo, recurrent_ppo, with_running_normalization
from rlx.training import sources

NUM_ENVS, UNROLL, SIZE = 4, 11, 5
GAMMA, LAMBDA = 0.9, 0.8


class Memory:
    """An environment whose episodes last 3, 4 or 5 steps; an even number terminates, an odd one is cut."""

    max_episode_steps = 5
    observation_space = envs.make("rlx:pendulum").observation_space
    action_space = envs.make("rlx:pendulum").action_space

    def reset(self, key):
        length_key, key = jax.random.split(key)
        state = (jax.random.randint(length_key, (), 3, 6), jnp.zeros((), jnp.int32))
        return state, jax.random.normal(key, (3,))

    def step(self, state, action, key):
        reached_key, reset_key, reward_key = jax.random.split(key, 3)
        length, elapsed = state[0], state[1] + 1
        done = elapsed == length
        reached = jax.random.normal(reached_key, (3,))
        fresh, beginning = self.reset(reset_key)
        out = envs.Step(
            observation=jnp.where(done, beginning, reached),
            reward=jax.random.normal(reward_key, ()) + action[0],
            terminated=done & (length % 2 == 0),
            truncated=done & (length % 2 == 1),
            next_observation=reached,
            info={},
        )
        return jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, (length, elapsed)), out


def make_learner(cell, optimizer=None, **options):
    options = dict(update_epochs=1, num_minibatches=1, discount=GAMMA, lambda_=LAMBDA) | options
    return recurrent_ppo.learner(
        policies.policy(Memory.action_space, ()),
        policies.critic(()),
        optax.sgd(1.0) if optimizer is None else optimizer,
        torso=policies.encoded(policies.torso((6,)), cell),
        **options,
    )


def after_some_rollouts(learner, rollouts=2):
    """A state of the learner, and a rollout whose first steps lie within episodes."""
    source = sources.rollouts(Memory(), learner, num_envs=NUM_ENVS, unroll_length=UNROLL)
    state = learner.init(jax.random.key(0), source.example(jax.random.key(0)))
    acting, state = source.init(jax.random.key(1), state)
    for key in jax.random.split(jax.random.key(2), rollouts):
        acting, batch, _ = jax.jit(source.collect)(acting, state, key)
    assert jnp.any(batch.memory != 0) and jnp.any(batch.terminated[:-1]) and jnp.any(batch.truncated[:-1])
    return state, batch


def distance_of_ratio(batch: ppo.Minibatch):
    return jnp.abs(jnp.exp(batch.log_prob - batch.behavior_log_prob) - 1)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "tolerance"), [("gru", 0.0), ("ssm", 1e-6)])
def test_the_first_ratio_is_one(cell, tolerance):
    """Across boundaries of episodes too, and with observations normalized by running moments.

    What is unrolled step by step is exact; a parallel scan sums in another order than the steps that acted.
    """
    seen = []

    def surrogate(batch):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), distance_of_ratio(batch))
        return -batch.log_prob * batch.advantage

    learner = make_learner(policies.CELLS[cell](SIZE), surrogate=surrogate, num_minibatches=2)
    learner = with_running_normalization(learner, on_policy=True)
    state, batch = after_some_rollouts(learner)
    jax.block_until_ready(jax.jit(learner.update)(state, batch, jax.random.key(3)))
    jax.effects_barrier()
    first = seen[0]
    assert first.shape == (NUM_ENVS // 2 * UNROLL,)
    np.testing.assert_allclose(first, 0.0, atol=tolerance)
    assert np.max(seen[1]) > 1e-3  # after a gradient step of size 1 the policy is another


def values_by_steps(learner_state, cell, batch):
    """V(s_t) and V(s'_t), the cell stepped through each environment in Python."""
    torso = policies.encoded(policies.torso((6,)), cell)
    params = learner_state.params

    @jax.jit
    def see(memory, observation):
        memory, x = torso.step(params["torso"], memory, observation[None])
        return memory, policies.critic(()).apply(params["critic"], x)[0]

    value, next_value = np.zeros((2, UNROLL, NUM_ENVS))
    for env in range(NUM_ENVS):
        memory = batch.memory[env : env + 1]
        for t in range(UNROLL):
            memory, value[t, env] = see(memory, batch.observation[t, env])
            _, next_value[t, env] = see(memory, batch.next_observation[t, env])
            if batch.terminated[t, env] or batch.truncated[t, env]:
                memory = torso.begin(1)
    return value, next_value


@pytest.mark.slow
@pytest.mark.parametrize("cell", policies.CELLS)
def test_each_step_is_valued_with_the_memory_that_it_had(cell):
    """Targets of the critic are those of an independent computation, through truncations and terminations."""
    seen = {}

    def value_loss(batch):
        jax.debug.callback(lambda **x: seen.update(x), target=batch.target, value=batch.value, old=batch.behavior_value)
        return (batch.value - batch.target) ** 2

    cell = policies.CELLS[cell](SIZE)
    learner = make_learner(cell, value_loss=value_loss)
    state, batch = after_some_rollouts(learner)
    jax.block_until_ready(jax.jit(learner.update)(state, batch, jax.random.key(3)))
    jax.effects_barrier()

    value, next_value = values_by_steps(state, cell, batch)
    delta = batch.reward + GAMMA * (1 - batch.terminated) * next_value - value
    advantage = np.zeros((UNROLL, NUM_ENVS))
    running = np.zeros(NUM_ENVS)
    for t in reversed(range(UNROLL)):
        goes_on = 1 - (batch.terminated[t] | batch.truncated[t])
        advantage[t] = running = delta[t] + GAMMA * LAMBDA * goes_on * running
    # Minibatches come in an order of their own.
    order = lambda x: np.sort(np.asarray(x).ravel())
    np.testing.assert_allclose(order(seen["old"]), order(value), atol=1e-6)
    np.testing.assert_allclose(order(seen["target"]), order(advantage + value), atol=1e-5)
    np.testing.assert_allclose(seen["value"], seen["old"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("cell", policies.CELLS)
def test_what_came_before_an_episode_changes_no_gradient_of_it(cell):
    """Only the losses of steps after a boundary are kept: other observations before it leave the update as it is."""
    learner = make_learner(
        policies.CELLS[cell](SIZE),
        surrogate=lambda batch: -batch.log_prob * (batch.behavior_log_prob == 0),
        value_coefficient=0.0,
        normalize_advantage="none",
    )
    state, batch = after_some_rollouts(learner)
    ends = np.argmax(np.asarray(batch.terminated | batch.truncated), axis=0)
    after = jnp.arange(UNROLL)[:, None] > ends
    # A behavior's log-probability of 0 marks the steps that count.
    marked = batch._replace(extras=batch.extras | {"log_prob": jnp.where(after, 0.0, 1.0)})
    changed = marked._replace(
        observation=jnp.where(after[..., None], marked.observation, marked.observation + 3.0),
        memory=marked.memory + 3.0,
    )
    update = jax.jit(learner.update)
    ours, theirs = (update(state, data, jax.random.key(3))[0].params for data in (marked, changed))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (ours, state.params)), strict=True))


def test_gradient_steps_go_through_the_whole_unroll():
    """The gradient with respect to the torso's input at the first step, of the loss at the last one, is not zero."""
    cell = policies.gru(SIZE)
    torso = recurrent_ppo.over_sequences(cell)
    params = cell.init(jax.random.key(0), jnp.zeros(3))
    zeros = jnp.zeros((2, UNROLL))

    def last(observation, first):
        steps = ppo.Minibatch(observation, zeros, zeros, zeros, zeros, zeros)
        features = torso.features(params, recurrent_ppo.Sequences(steps, first, cell.begin(2)))
        return jnp.sum(features.reshape(2, UNROLL, SIZE)[:, -1])

    observation = jax.random.normal(jax.random.key(1), (2, UNROLL, 3))
    first = jnp.zeros((2, UNROLL), bool).at[1, 5].set(True)
    gradient = np.asarray(jax.grad(last)(observation, first))
    assert np.all(np.any(gradient[0] != 0, axis=-1))
    np.testing.assert_array_equal(np.any(gradient[1] != 0, axis=-1), np.arange(UNROLL) >= 5)


def test_sequences_stay_whole():
    learner = make_learner(policies.gru(SIZE), num_minibatches=3)
    state, batch = after_some_rollouts(learner)
    with pytest.raises(ValueError, match="num_minibatches must divide the 4 sequences of a rollout"):
        learner.update(state, batch, jax.random.key(0))


TINY = dict(
    env="gymnax:MemoryChain-bsuite",
    total_steps=4 * 8 * 2,
    num_envs=4,
    unroll_length=8,
    num_minibatches=2,
    update_epochs=2,
    hidden_sizes=(8,),
    memory_size=4,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(
            cell="gru",
            shared_torso=False,
            critic_hidden_sizes=(3,),
            anchor=rlx.controllers.ewma_params(decay=0.9),
            normalize_observation=False,
        ),
        dict(cell="ssm", target_kl=0.01, adaptive_kl=0.01, value_loss="clipped", normalize_advantage="batch"),
        dict(torso=policies.ssm(3), regularizers={"kl": (0.1, ppo.behavior_kl)}),
    ],
)
def test_every_slot_of_ppo_serves(options):
    state, metrics = jax.jit(rlx.make_train("recurrent_ppo", **(TINY | options)))(jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert metrics["policy_loss"].shape == (2,) and np.isfinite(metrics["policy_loss"]).all()
    assert {f"{name}_loss" for name in options.get("regularizers", {"entropy": 0})} <= metrics.keys()
    if not options.get("shared_torso", True):
        of_policy, of_critic = state.params["torso"]
        shape = lambda params: params["encoder"]["params"]["Dense_0"]["kernel"].shape
        assert (shape(of_policy), shape(of_critic)) == ((3, 8), (3, 3))


@pytest.mark.slow
def test_a_memory_solves_what_a_single_observation_cannot():
    """The bit shown at the beginning of an episode is asked for at its end: chance is a return of 0."""
    from rlx import recipes

    recipe = recipes.recipe("recurrent_ppo")
    config = recipe.configure(
        **TINY
        | dict(total_steps=20_000, num_envs=32, unroll_length=16, update_epochs=4, memory_size=16)
        | dict(cell="ssm", learning_rate=1e-2, eval_episodes=64, max_eval_steps=8)
    )
    program = recipes.make_program(recipe, config)
    state, _ = jax.jit(rlx.training.program.make_train(program, config.num_updates))(jax.random.key(0))
    assert jax.jit(program.evaluate)(state, jax.random.key(1))["eval_return_mean"] == 1.0
