"""Methods do what their papers, or the code of their published runs, do: where that differs from the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.algorithms.responses import Responses
from rlx.recipes.language_methods import make_method

TIME = 5


@pytest.fixture
def batch():
    """Two groups of three responses, the first of which fails, after some gradient steps."""
    rng = np.random.default_rng(1)
    shape = (2, 3, TIME)
    where = jnp.asarray(np.arange(TIME) < np.array([[5, 3, 4], [2, 5, 5]])[..., None])
    reward = jnp.array([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    draw = lambda *shape: jnp.asarray(-rng.uniform(0.1, 2.0, shape))
    return Responses(
        prompt=jnp.zeros((2, 3, 1), int),
        prompt_where=jnp.ones((2, 3, 1), bool),
        token=jnp.asarray(rng.integers(2, 6, shape)),
        present=where,
        where=where,
        reward=reward,
        correct=reward > 0,
        answer=jnp.zeros((2, 3), int),
        first_error=jnp.zeros((2, 3), int),
        step=jnp.zeros(shape, int),
        log_prob=draw(*shape),
        behavior_log_prob=draw(*shape),
        reference_log_prob=draw(*shape),
        entropy=-draw(*shape),
        behavior_value=draw(*shape),
        value=draw(*shape),
        token_reward=draw(*shape) + 1.0,
        key=jax.random.key(0),
        update=jnp.asarray(50, jnp.int32),
        solution=jnp.full((2, TIME), 3),
        solution_present=jnp.ones((2, TIME), bool),
        solution_where=jnp.ones((2, TIME), bool),
        solution_log_prob=draw(2, TIME),
        solution_correct=jnp.array([True, True]),
        solution_reward=jnp.ones(2),
    )


def prepared(method, batch):
    batch = batch._replace(reward=method.reward(batch))
    return method.remember(batch._replace(advantage=method.advantage(batch)))


def test_dapo_compares_rewards_of_minus_one_and_one_less_a_punishment_of_at_most_one(batch):
    found = prepared(make_method("dapo", soft_room=0.4), batch)
    length, room = np.array([[5, 3, 4], [2, 5, 5]], float), 0.4 * TIME
    reward = np.where(batch.correct, 1.0, -1.0) + np.minimum((TIME - room - length) / room, 0.0)
    standardized = (reward - reward.mean(-1, keepdims=True)) / reward.std(-1, keepdims=True)
    ours = np.asarray(found.advantage)[..., 0]
    ours = ours / ours.std(-1, keepdims=True)
    np.testing.assert_allclose(ours, standardized, atol=1e-5)


def slope(method, batch, name="log_prob"):
    """Of the loss in the tokens' log-probabilities, or in something else that is said of them."""
    return np.asarray(jax.grad(lambda x: method.loss(batch._replace(**{name: x})))(getattr(batch, name)))


def test_dapo_samples_in_rounds():
    assert make_method("dapo").max_rounds == 10 and make_method("dapo", max_rounds=1).max_rounds == 1
    assert make_method("grpo").max_rounds == 1


def test_clip_cov_follows_ratios_up_to_two(batch):
    """The published runs clip at 0 and 2; a ratio of 1.5 on a rewarded token has a gradient."""
    log_ratio = jnp.broadcast_to(jnp.log(jnp.array([1.5, 0.5, 1.0, 2.5, 1.9])), batch.log_prob.shape)
    batch = batch._replace(behavior_log_prob=batch.log_prob - log_ratio)
    # No covariance lies in this band, so that nothing is dropped.
    method = make_method("clip_cov", lower=1e6, upper=1e6 + 1)
    seen = prepared(method, batch)
    found = slope(method, seen)
    ratio, advantage = np.exp(np.asarray(log_ratio, float)), np.asarray(seen.advantage, float)
    free = (advantage < 0) | (ratio < 2)
    where = np.asarray(batch.where)
    np.testing.assert_allclose(found, -ratio * advantage * free * where / where.sum(), rtol=1e-5, atol=1e-8)


def test_bnpo_sums_the_tokens_of_a_sequence_and_mhpo_averages_them(batch):
    """As the published runs of the one and the paper of the other say."""
    ratio, where = np.exp(np.asarray(batch.log_prob - batch.behavior_log_prob, float)), np.asarray(batch.where)
    seen = prepared(make_method("bnpo"), batch)
    advantage = np.asarray(seen.advantage, float)
    free = np.where(advantage > 0, ratio < 1.28, ratio > 0.8)
    expected = -np.where(where & free, ratio * advantage, 0) / 6
    np.testing.assert_allclose(slope(make_method("bnpo"), seen), expected, rtol=1e-5, atol=1e-8)
    seen = prepared(make_method("mhpo"), batch._replace(log_prob=batch.behavior_log_prob))
    damped = np.exp(-(np.log(2) ** 1.5) - (np.log(2) / 0.8) ** 2)
    expected = -damped * np.asarray(seen.advantage, float) * where / where.sum(-1, keepdims=True) / 6
    np.testing.assert_allclose(slope(make_method("mhpo"), seen), expected, rtol=1e-5, atol=1e-8)


def test_ace_sums_log_ratios_over_the_tokens(batch):
    found = np.asarray(make_method("ace").advantage(batch))[..., 0]
    confidence = np.where(batch.where, batch.log_prob - batch.reference_log_prob, 0).sum(-1)
    reward = np.asarray(batch.reward, float)
    plain = (reward - reward.mean(-1, keepdims=True)) / (reward.std(-1, ddof=1, keepdims=True) + 1e-6)
    expected = np.where(plain < 0, plain * (1 + np.log1p(np.exp(confidence))), plain)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_lp_reg_protects_some_tokens_of_a_small_batch(batch):
    """Of five punished tokens the reference code's hundredth part is none."""
    rng = np.random.default_rng(3)
    logits = jnp.asarray(2 * rng.normal(size=(2, 3, TIME, 8)))
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.token[..., None], -1)[..., 0]
    batch = batch._replace(behavior_logits=logits, log_prob=log_prob, behavior_log_prob=log_prob)
    plain, code, ours = (make_method("lp_reg", threshold=0.1, **x) for x in ({"coefficient": 0}, {"minimum": 0}, {}))
    seen = prepared(ours, batch)
    np.testing.assert_array_equal(slope(code, seen), slope(plain, seen))
    change = slope(ours, seen) - slope(plain, seen)
    p = np.exp(np.asarray(jax.nn.log_softmax(logits), float))
    kept = p >= 0.1 * p.max(-1, keepdims=True)
    proxy = np.where(kept, p, 0) / np.where(kept, p, 0).sum(-1, keepdims=True)
    token = np.asarray(batch.token)[..., None]
    own, of_proxy = (np.take_along_axis(x, token, -1)[..., 0] for x in (p, proxy))
    punished = np.asarray(batch.where) & (np.asarray(seen.advantage) < 0)
    favored = punished & (of_proxy > own)
    assert favored.sum() > 2
    rarest = favored & (own <= np.sort(own[favored])[1])
    expected = np.where(rarest, 1 - of_proxy / own, 0) / np.asarray(batch.where).sum()
    np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["hpt", "dypo"])
def test_a_wrong_demonstration_is_not_learned_from(name, batch):
    method = make_method(name)
    taught = prepared(method, batch)
    assert np.asarray(taught.extras).tolist() == [True, False]
    np.testing.assert_array_equal(taught.token[0, 0], batch.solution[0])
    wrong = batch._replace(solution_correct=jnp.array([False, True]), solution_reward=jnp.array([0.0, 1.0]))
    seen = prepared(method, wrong)
    assert not np.asarray(seen.extras).any()
    np.testing.assert_array_equal(seen.token, batch.token)
    np.testing.assert_array_equal(seen.where, batch.where)
    assert not slope(method, seen)[0].any()


def test_critique_grpo_punishes_a_refinement_that_the_verifier_rejects(batch):
    method = make_method("critique_grpo", shaping=0.3)
    wrong = batch._replace(solution_correct=jnp.array([True, False]), solution_reward=jnp.array([1.0, 0.25]))
    seen = prepared(method, wrong)
    np.testing.assert_array_equal(seen.reward, [[1, 0, 0], [0.25, 0, 1]])
    np.testing.assert_allclose(seen.advantage[1, :, 0], np.array([0.25, 0, 1]) - 1.25 / 3, rtol=1e-6)
    assert (slope(method, seen)[1, 0] > 0).all() and (slope(method, seen)[0, 0] < 0).all()


def test_oreal_learns_where_its_reward_model_sees_it_decided(batch):
    method = make_method("oreal", beta=0.2)
    seen = prepared(method, batch)
    where = np.asarray(seen.where)
    # A right and a wrong response of the group that has both.
    assert where.any(-1).tolist() == [[False] * 3, [True, True, False]]
    score, reward = np.asarray(batch.token_reward, float)[1], np.asarray(batch.reward, float)[1]
    advantage = reward - (reward.sum() - reward) / 2
    expected = np.zeros((2, 3, TIME))
    for member, (sign, factor) in enumerate([(1, 1.0), (-1, 0.5)]):
        length = where[1, member].sum()
        verdict = np.cumsum(score[member]) / np.arange(1, TIME + 1)
        weight = np.clip((1 / (1 + np.exp(-sign * verdict)) - 0.5) / 0.5, 0, 1)
        expected[1, member] = -factor * advantage[member] * weight * where[1, member] / length
    drift = np.asarray(batch.log_prob - batch.reference_log_prob, float)
    expected += 0.2 * (1 - np.exp(-drift)) * where / where.sum()
    np.testing.assert_allclose(slope(method, seen), expected, rtol=1e-5, atol=1e-7)
    # The reward model learns from its mean score whether a response is right.
    mean = np.where(where, batch.token_reward, 0).sum(-1) / np.maximum(where.sum(-1), 1)
    error = (1 / (1 + np.exp(-mean)) - np.asarray(batch.correct)) / np.maximum(where.sum(-1), 1) / 2
    found = slope(method, seen, "token_reward")
    np.testing.assert_allclose(found, error[..., None] * where, rtol=1e-5, atol=1e-7)
    early = seen._replace(update=jnp.asarray(9, jnp.int32))
    assert not slope(method, early).any()
    np.testing.assert_array_equal(slope(method, early, "token_reward"), found)
    assert np.asarray(prepared(make_method("oreal", one_of_each=False), batch).where).sum() == batch.where.sum()


def advantages_of(own, value, reward, drift, lambda_):
    """GAE of one response whose steps are its own tokens, from the last to the first."""
    found, next_value, trace = np.zeros(len(own)), 0.0, 0.0
    last = np.flatnonzero(own)[-1]
    for t in reversed(np.flatnonzero(own)):
        delta = (reward if t == last else 0.0) - drift[t] + next_value - value[t]
        trace = delta + lambda_ * trace
        found[t], next_value = trace, value[t]
    return found


@pytest.mark.parametrize(("lambda_", "beta"), [(0.9, 0.0), (0.5, 0.3), (1.0, 0.3)])
def test_ppo_bootstraps_from_the_next_of_its_own_tokens(lambda_, beta):
    """Past what the environment replies, and past the slots that a turn which ended early leaves free."""
    rng = np.random.default_rng(4)
    text = ["ttt.rrttt.", "t...rrt...", "tttt..tttt"]  # own tokens, free slots, replies
    own = np.array([[[mark == "t" for mark in line] for line in text]])
    present = np.array([[[mark != "." for mark in line] for line in text]])
    value, log_prob, reference = (rng.normal(size=own.shape) for _ in range(3))
    reward = np.array([[1.0, 0.0, 0.5]])
    drift = beta * (log_prob - reference)
    blank = Responses(*(jnp.zeros((1, 3, 10)),) * 10)
    batch = blank._replace(
        present=jnp.asarray(present),
        where=jnp.asarray(own),
        reward=jnp.asarray(reward),
        # What lies between the steps may say anything.
        behavior_value=jnp.where(own, value, 1e6),
        behavior_log_prob=jnp.where(own, log_prob, -1e6),
        reference_log_prob=jnp.asarray(reference) if beta else None,
    )
    method = make_method("ppo", lambda_=lambda_, beta=beta)
    assert ("reference" in method.uses) == (beta > 0)
    expected = np.array([[advantages_of(own[0, i], value[0, i], reward[0, i], drift[0, i], lambda_) for i in range(3)]])
    seen = prepared(method, batch)
    np.testing.assert_allclose(np.asarray(seen.extras)[own], (expected + value)[own], rtol=1e-4, atol=1e-5)
    normalized = (expected - expected[own].mean()) / expected[own].std()
    np.testing.assert_allclose(np.asarray(seen.advantage)[own], normalized[own], rtol=1e-3, atol=1e-5)


def test_the_critic_of_ppo_is_asked_at_the_policys_own_tokens_only(batch):
    """At the others it has no target."""
    seen = prepared(make_method("ppo"), batch._replace(present=jnp.ones(batch.where.shape, bool)))
    found = slope(make_method("ppo"), seen, "value")
    assert not found[~np.asarray(batch.where)].any() and found.any()
