"""Critics and reward models of tokens: what they see of a response, and an optimizer of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import reduce
from rlx.algorithms import grpo, scoring
from rlx.policies import transformer
from rlx.recipes import grpo as recipe
from rlx.recipes import language_tasks
from rlx.training import responses
from tests.sorting_policy import CONFIG, TASK


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def batch():
    found = responses.solutions(TASK, responses.draw(jax.random.key(1), TASK, "train", 4))
    pair = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=1), found)
    return pair._replace(reward=jnp.array([[1.0, 0.0]] * 4))


def test_a_reward_model_sees_the_token_that_it_judges(params, batch):
    """A critic sees what is before a token; after one is before the next, and both are causal."""
    head = jax.random.normal(jax.random.key(2), (CONFIG.hidden_size,))
    of = jax.jit(lambda batch, after: scoring.judge(CONFIG, params, head, batch, after=after), static_argnums=1)
    before, after = of(batch, False), of(batch, True)
    np.testing.assert_allclose(before[..., 1:], after[..., :-1], rtol=1e-5, atol=1e-6)
    other = batch._replace(token=batch.token.at[..., 1].set((batch.token[..., 1] - 2) % 4 + 3))
    changed = lambda a, b: np.asarray(jnp.abs(a - b) > 1e-6).any((0, 1))
    assert changed(before, of(other, False))[:3].tolist() == [False, False, True]
    assert changed(after, of(other, True))[:2].tolist() == [False, True]


@pytest.mark.slow
def test_a_critic_has_a_clipping_and_a_step_size_of_its_own(params, batch):
    """However large its gradient is, the policy goes as far as without it."""

    def loss(batch):
        error = reduce.token_mean(jnp.square(batch.value - 1.0), where=batch.where)
        return grpo.token_loss(batch) + batch.memory * error

    method = grpo.Method(uses=frozenset({"value"}), loss=loss, memory=lambda num_prompts, group_size: jnp.zeros(()))
    clipped, slower = (optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(rate)) for rate in (1.0, 0.5))
    learner = grpo.learner(CONFIG, clipped, method, params=lambda key: params, critic_optimizer=slower)
    before, update = learner.init(jax.random.key(0), batch), jax.jit(learner.update)
    alone, beside = (update(before._replace(memory=jnp.array(x)), batch, jax.random.key(3))[0] for x in (0.0, 1e4))
    same = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)
    jax.tree.map(same, beside.params["policy"], alone.params["policy"])
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, beside.params["critic"], before.params["critic"]))
    np.testing.assert_allclose(moved, 0.1 * 0.5, rtol=1e-4)


@pytest.mark.slow
def test_a_recipe_gives_the_critic_the_rate_that_its_method_says(batch):
    """Adam's first step is as long as its step size, wherever there is a gradient."""
    sizes = dict(hidden_size=16, num_layers=1, num_heads=2, num_prompts=4, group_size=2, minibatches=1, warmup_steps=0)
    config = recipe.Config(
        task="sorting@length=3@symbols=4", method="ppo@critic_rate=5", learning_rate=1e-3, max_grad_norm=1e6, **sizes
    )
    learner = recipe.make_learner(config, language_tasks.make_environment(config), num_updates=1)
    state = learner.init(jax.random.key(0), batch)
    after, _ = jax.jit(learner.update)(state, batch, jax.random.key(3))
    moved = np.abs(np.asarray(after.params["critic"]["head"] - state.params["critic"]["head"]))
    np.testing.assert_allclose(np.median(moved), 5e-3, rtol=1e-2)
