"""Every method of the table takes a step, and what is asked for wrongly is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import grpo
from experiments.cli import main
from experiments.token_methods import METHODS, make_method

TINY = dict(
    task="sorting@length=2@symbols=3",
    hidden_size=16,
    num_layers=1,
    num_heads=2,
    num_prompts=4,
    group_size=4,
    minibatches=2,
    eval_prompts=4,
    eval_samples=2,
)


@pytest.mark.parametrize("method", [*METHODS, "grpo@beta=0.1"])
def test_a_method_takes_a_step(method):
    config = grpo.Config(**TINY, method=method, warmup_steps=0, total_steps=32, oversample=2)
    task = grpo.make_environment(config)
    learner = grpo.make_learner(config, task)
    _, init = grpo.make_policy(config, task)
    state = learner.init(init(jax.random.key(0)), (4, 4))
    time = task.response_length
    rng = np.random.default_rng(0)
    where = jnp.asarray(np.arange(time) < rng.integers(1, time + 1, (4, 4, 1)))
    batch = grpo_batch(task, where, jnp.asarray(rng.integers(0, 2, (4, 4)), float), rng)
    after, metrics = jax.jit(learner.update)(state, batch, jax.random.key(1))
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert metrics["gradient_norm"] > 0
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), after.params["policy"], state.params["policy"])
    assert any(jax.tree.leaves(changed))
    assert ("reference_kl" in metrics) == ("reference" in learner.method.uses)


def grpo_batch(task, where, reward, rng):
    from rlx.algorithms.grpo import Batch

    token = jnp.where(where, jnp.asarray(rng.integers(2, len(task.vocabulary), where.shape)), task.pad_token)
    prompt = jnp.asarray(rng.integers(2, len(task.vocabulary), (*reward.shape, task.prompt_length)))
    return Batch(
        prompt=prompt,
        prompt_where=jnp.ones(prompt.shape, bool),
        token=token,
        present=where,
        where=where,
        reward=reward,
        correct=reward > 0,
        answer=jnp.zeros(reward.shape, int),
        first_error=jnp.zeros(reward.shape, int),
        step=jnp.where(where, 0, -1),
    )


def test_what_cannot_be_is_said(capsys):
    with pytest.raises(ValueError, match="no method 'gpro'; did you mean .*grpo"):
        make_method("gpro")
    with pytest.raises(ValueError, match="dapo has no hyperparameter 'clip'; it has clip_low, clip_high, soft_room"):
        make_method("dapo", clip=0.1)
    with pytest.raises(ValueError, match="options are NAME@OPTION=VALUE, got 'addition@digits'"):
        grpo.make_environment(grpo.Config(task="addition@digits"))
    assert grpo.named("tool@keys=4@word=x") == ("tool", {"keys": 4, "word": "x"})
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name}" in listed for name in [*METHODS, "addition"])
