"""Groups are sampled until enough of them teach something, and responses retried from where they went wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.algorithms import grpo
from rlx.algorithms.responses import Responses
from rlx.policies import transformer
from rlx.recipes.language_methods import make_method
from rlx.training import groups, responses, sources
from tests.sorting_policy import CONFIG, TASK

FIELDS = ("prompt", "prompt_where", "token", "present", "where", "correct", "answer", "first_error", "step", "reward")


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


def sampled(key, state, *, groups=3, success=0.15):
    """Groups of two responses that say in which round and place they were sampled."""
    reward = jax.random.bernoulli(key, success, (groups, 2)) * 1.0
    token = jnp.broadcast_to((10 * state + jnp.arange(groups))[:, None, None], (groups, 2, 1))
    batch = Responses(**dict.fromkeys(FIELDS, token))._replace(reward=reward, where=jnp.ones(token.shape, bool))
    return batch, {"sampled_accuracy": jnp.mean(reward)}, state + 1


def one_by_one(key, *, count, max_rounds):
    """What groups were found in how many rounds, and the mean reward of all that was sampled."""
    found, rewards, state = [], [], 0
    for number in range(max_rounds):
        batch, _, state = sampled(jax.random.fold_in(key, number), state)
        reward = np.asarray(batch.reward)
        rewards.append(reward)
        found += [int(batch.token[i, 0, 0]) for i in range(len(reward)) if reward[i].min() < reward[i].max()]
        if len(found) >= count:
            break
    return found[:count], number + 1, np.mean(rewards)


@pytest.mark.parametrize("max_rounds", [2, 30])
def test_rounds_are_sampled_until_all_groups_teach_something(max_rounds):
    prefer = grpo.Method().prefer
    fill = jax.jit(jax.vmap(lambda key: groups.filled(key, sampled, prefer, 0, count=3, max_rounds=max_rounds)))
    keys = jax.random.split(jax.random.key(3), 12)
    batch, metrics, state = fill(keys)
    all_rounds = set()
    for i, key in enumerate(keys):
        found, rounds, accuracy = one_by_one(key, count=3, max_rounds=max_rounds)
        teaches = np.arange(3) < len(found)
        np.testing.assert_array_equal(batch.token[i, : len(found), 0, 0], found)
        np.testing.assert_array_equal(batch.where[i], np.broadcast_to(teaches[:, None, None], (3, 2, 1)))
        assert metrics["sampling_rounds"][i] == state[i] == rounds
        np.testing.assert_allclose(metrics["without_signal"][i], 1 - teaches.mean(), atol=1e-6)
        np.testing.assert_allclose(metrics["sampled_accuracy"][i], accuracy, rtol=1e-5, atol=1e-6)
        all_rounds.add(rounds)
    assert len(all_rounds) > 1 or max_rounds == 2
    assert (np.asarray(metrics["without_signal"]) == 0).all() == (max_rounds == 30)


def begun(method, params, source):
    learner = grpo.learner(CONFIG, optax.sgd(0.1), method, params=lambda key: params)
    state = learner.init(jax.random.key(0), source.example(jax.random.key(0)))
    return learner, state, source.init(jax.random.key(1), state)[0]


@pytest.mark.slow
def test_dapo_learns_from_no_group_without_signal(params):
    """A random policy sorts nothing: after the last round there is nothing to learn from, not even lengths."""
    method = make_method("dapo", max_rounds=3)
    source = sources.responses(TASK, CONFIG, method=method, num_prompts=2, group_size=2)
    learner, state, order = begun(method, params, source)

    @jax.jit
    def step(state):
        _, batch, found = source.collect(order, state, jax.random.key(2))
        return *learner.update(state, batch, jax.random.key(3)), batch, found

    after, metrics, batch, found = step(state)
    assert not np.asarray(batch.correct).any()
    assert found["sampling_rounds"] == 3 and found["without_signal"] == 1
    assert not np.asarray(batch.where).any() and np.asarray(batch.present).any()
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


@pytest.mark.slow
def test_a_source_fills_up_with_what_the_method_prefers(params):
    """Groups of equal length are rare enough to take several rounds."""
    equal = lambda batch: (jnp.ptp(batch.length, axis=-1) == 0) * 1.0
    method = grpo.Method(prefer=equal, max_rounds=40)
    source = sources.responses(TASK, CONFIG, method=method, num_prompts=4, group_size=3)
    _, state, order = begun(method, params, source)
    _, batch, found = jax.jit(source.collect)(order, state, jax.random.key(5))
    assert 1 < found["sampling_rounds"] < 40 and found["without_signal"] == 0
    length = np.asarray(batch.length)
    assert (length == length[:, :1]).all() and (length > 0).all()


@pytest.mark.slow
def test_rows_that_are_refilled_change_no_response(params):
    """Neither tokens nor verdicts, whatever the groups."""
    problems = responses.draw(jax.random.key(1), TASK, "train", 5)
    roll = partial(responses.rollout, config=CONFIG, task=TASK, group_size=3, temperature=0.7)
    whole, refilled = (
        jax.jit(partial(roll, rows=rows))(jax.random.key(2), params=params, problems=problems) for rows in (None, 4)
    )
    assert len(np.unique(np.asarray(whole.length))) > 1
    jax.tree.map(np.testing.assert_array_equal, refilled, whole)


@pytest.mark.slow
def test_a_wrong_response_is_retried_from_its_first_error(params):
    problems = responses.draw(jax.random.key(1), TASK, "train", 6)
    right = responses.solutions(TASK, problems)
    # One solved, one that is wrong in its second symbol.
    wrong = right.token.at[..., 1].set((right.token[..., 1] - 3 + 1) % 4 + 3)
    token = jnp.concatenate([right.token, wrong], axis=1)
    twice = lambda x: jnp.concatenate([x, x], axis=1)
    first = responses.judged(TASK, problems, token, twice(right.present), twice(right.where))
    retry = jax.jit(partial(groups.retried, config=CONFIG, task=TASK, temperature=1.0))
    both, metrics = retry(jax.random.key(2), params=params, problems=problems, first=first)
    correct, pivot = np.asarray(first.correct), np.asarray(first.first_error)
    assert correct[:, 0].all() and (~correct[:, 1]).any()
    old, new = (np.asarray(both.token)[:, part] for part in (slice(0, 2), slice(2, 4)))
    learned = np.asarray(both.where)
    np.testing.assert_array_equal(old, token)
    for i, j in np.ndindex(6, 2):
        own, again = np.asarray(first.where)[i, j], learned[i, 2 + j]
        if correct[i, j]:
            np.testing.assert_array_equal(learned[i, j], own)
            assert not again.any()
            continue
        begin = pivot[i, j]
        np.testing.assert_array_equal(new[i, j, :begin], old[i, j, :begin])
        np.testing.assert_array_equal(learned[i, j], own & (np.arange(len(own)) >= begin))
        assert not again[:begin].any() and again[begin]
    solved = np.asarray(both.correct)[:, 2:][~correct]
    np.testing.assert_allclose(metrics["retried_accuracy"], solved.mean(), rtol=1e-6)
    # What it goes on with differs between responses: it was sampled.
    assert (new[~correct] != old[~correct]).any()


@pytest.mark.slow
def test_r3l_compares_the_responses_that_there_are(params):
    method = make_method("r3l")
    source = sources.responses(TASK, CONFIG, method=method, num_prompts=2, group_size=4)
    _, state, order = begun(method, params, source)
    _, batch, found = jax.jit(source.collect)(order, state, jax.random.key(2))
    assert batch.token.shape[:2] == (2, 4) and found.keys() == {"sampled_accuracy", "retried_accuracy"}
    # The second half begins as the first half did, up to its first error.
    token, pivot = np.asarray(batch.token), np.asarray(batch.first_error)
    for i, j in np.ndindex(2, 2):
        np.testing.assert_array_equal(token[i, j, : pivot[i, j]], token[i, 2 + j, : pivot[i, j]])
    with pytest.raises(ValueError, match="group_size must be even, since half of a group are second attempts, got 3"):
        sources.responses(TASK, CONFIG, method=method, num_prompts=2, group_size=3)
    # A place without a response counts for no mean.
    shown = batch._replace(
        reward=jnp.array([[1.0, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 0.0]]),
        where=jnp.ones(batch.where.shape, bool).at[0, 2].set(False),
    )
    advantage = np.asarray(method.advantage(shown))[..., 0]
    np.testing.assert_allclose(advantage, [[1, -0.5, 0, 0], [-0.25, -0.25, 1, -0.25]], atol=1e-6)
