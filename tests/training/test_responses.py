"""Sources of responses: responses go on from what is given, groups of the past are replayed, solutions imitated."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.algorithms import grpo
from rlx.envs import language
from rlx.policies import transformer
from rlx.training import responses, sources
from rlx.training.program import BY_RUN, REPLAY, make_program
from tests.sorting_policy import CONFIG, TASK


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


# Random policies that answer many prompts differently, and end some of the turns.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "seed"), [(language.make("addition", digits=1), 4), (language.make("tool", terms=1, keys=4), 11)]
)
def test_a_greedy_response_that_is_resumed_ends_as_it_did(task, seed):
    """Whatever part of it is given: positions, cache and replies are those of the uninterrupted response."""
    narrow = dict(hidden_size=8, intermediate_size=16, num_heads=1)
    config = dataclasses.replace(CONFIG, vocab_size=len(task.vocabulary), **narrow)
    params = jax.tree.map(lambda x: 3 * x, transformer.init(jax.random.key(seed), config))
    problems = responses.draw(jax.random.key(0), task, "train", 16)
    key, group = jax.random.key(2), 4

    @jax.jit
    def both(given):
        roll = partial(responses.rollout, key, config, params, task, problems, group_size=group, temperature=0.0)
        whole = roll()
        return whole, roll(given=(whole.token, whole.where & (jnp.arange(task.response_length) < given)))

    given = np.random.default_rng(0).integers(0, task.response_length + 1, (16, group, 1))
    whole, again = both(given)
    assert len(np.unique(whole.token[:, 0], axis=0)) > 4 and (whole.where & (whole.token == task.end_token)).any()
    for field in ("prompt", "prompt_where", "token", "present", "where", "correct", "answer", "first_error", "step"):
        np.testing.assert_array_equal(getattr(whole, field), getattr(again, field), field)


@pytest.mark.slow
def test_replayed_groups_keep_what_the_policy_that_sampled_them_said(params):
    """A learner that shifts the policy by a fixed amount tells from the age of a group what its policy was."""
    shift = lambda params, times: jax.tree.map(lambda x: x * 1.1**times, params)

    def update(state, batch, key):
        metrics = {"token": batch.token, "prompt": batch.prompt, "where": batch.where}
        metrics["behavior"] = batch.behavior_log_prob
        later = shift(state.params["policy"], 1)
        return state._replace(params={"policy": later}, update=state.update + 1), metrics

    learner = grpo.learner(CONFIG, optax.sgd(0.1), params=lambda key: params)._replace(update=update)
    program = make_program(
        sources.responses(TASK, CONFIG, num_prompts=3, group_size=2, replayed=1, replay_size=4), learner
    )
    # What is replayed is large, and whole on every device of its run.
    assert program.layout.source.past == REPLAY and program.layout.source.order == BY_RUN
    run = lambda key: jax.lax.scan(lambda state, _: program.step(state), program.init(key), length=8)
    _, history = jax.jit(run)(jax.random.key(1))
    ages = np.asarray(history["staleness"]).astype(int)
    # Two groups come in with every update, and four are kept: those of the two updates before.
    assert ages[0] == 0 and set(ages[2:]) == {1, 2}

    problems = responses.draw(jax.random.key(0), TASK, "train", 1)
    blank = responses.solutions(TASK, problems)

    @jax.jit
    def expected(times, token, prompt, where):
        given = {"prompt": prompt, "prompt_where": prompt != TASK.pad_token, "present": where, "where": where}
        return grpo.score(CONFIG, shift(params, times), blank._replace(token=token, **given)).log_prob

    for done, age in enumerate(ages):
        token, prompt, where, said = (history[name][done, 2:] for name in ("token", "prompt", "where", "behavior"))
        np.testing.assert_allclose(said, expected(done - age, token, prompt, where), atol=2e-5)


@pytest.mark.parametrize(
    "numbers, message",
    [
        (dict(replayed=4), "replayed must be at least 0 and below num_prompts=4, got 4"),
        (dict(replayed=1, replay_size=2), "replay_size must hold the groups that an update adds or draws: 3, got 2"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        sources.responses(TASK, CONFIG, num_prompts=4, **numbers)


def test_sources_show_the_shapes_of_what_they_give(params):
    """Before anything is learned, and without asking the verifier."""
    shapes = lambda batch: {name: x.shape for name, x in batch._asdict().items() if hasattr(x, "shape")}
    source = sources.responses(TASK, CONFIG, num_prompts=3, group_size=2, oversample=2)
    state = grpo.learner(CONFIG, optax.sgd(0.1)).init(jax.random.key(0), source.example(jax.random.key(0)))
    past, _ = source.init(jax.random.key(1), state)
    _, batch, metrics = jax.jit(source.collect)(past, state, jax.random.key(2))
    assert shapes(source.example(jax.random.key(0))) == shapes(batch) and batch.reward.shape == (3, 2)
    assert metrics.keys() == {"sampled_accuracy"}

    taught = sources.solutions(TASK, batch_size=5)
    solved = jax.jit(taught.draw)((), None, jax.random.key(0))
    assert shapes(taught.example(jax.random.key(0))) == shapes(solved) and solved.reward.shape == (5, 1)
    assert bool(solved.correct.all())


@pytest.mark.slow
def test_an_evaluation_tells_the_drift_where_there_is_something_to_measure_it_from(params):
    moved = jax.tree.map(lambda x: 1.5 * x, params)
    source = sources.responses(TASK, CONFIG, num_prompts=2, group_size=2)
    evaluate = jax.jit(responses.evaluator(TASK, CONFIG, num_prompts=4, num_samples=2))
    key, example = jax.random.key(3), source.example(jax.random.key(0))
    for measured in (False, True):
        learner = grpo.learner(CONFIG, optax.sgd(0.1), params=lambda key: params, measure_drift=measured)
        state = learner.init(jax.random.key(0), example)
        assert ("eval_drift" in evaluate(state, key)) == measured
    assert evaluate(state, key)["eval_drift"] == 0
    assert evaluate(state._replace(params={"policy": moved}), key)["eval_drift"] > 0
