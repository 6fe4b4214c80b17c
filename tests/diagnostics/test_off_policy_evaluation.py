"""Values from another policy's episodes, against exact ones of a small process and sums written apart."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.diagnostics import doubly_robust, importance_sampling
from rlx.training.statistics import episode_interval

DISCOUNT, HORIZON = 0.9, 3
# Two states and the end, two actions: P[s, a, s'], and what reaching s' earns.
STEP = np.array([[[0.6, 0.3, 0.1], [0.1, 0.5, 0.4]], [[0.2, 0.2, 0.6], [0.5, 0.5, 0.0]]])
REWARD = np.array([[[1.0, 0.0, 5.0], [2.0, -1.0, 0.5]], [[0.0, 3.0, 1.0], [-2.0, 1.0, 0.0]]])
POLICY, BEHAVIOR = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.5, 0.5], [0.6, 0.4]])


def exact_values():
    """V[t, s] and Q[t, s, a] of the policy, with so many steps left after t; the end is worth 0."""
    value, q = np.zeros((HORIZON + 1, 3)), np.zeros((HORIZON, 2, 2))
    for t in reversed(range(HORIZON)):
        q[t] = np.sum(STEP * (REWARD + DISCOUNT * value[t + 1]), axis=-1)
        value[t, :2] = np.sum(POLICY * q[t], axis=-1)
    return value, q


def all_episodes():
    """Every possible episode from state 0, `(states, actions, rewards)`, and its probability under the behavior."""
    found = []

    def go_on(states, actions, rewards, chance):
        if len(actions) == HORIZON or states[-1] == 2:
            return found.append((states, actions, rewards, chance))
        s = states[-1]
        for a, following in itertools.product(range(2), range(3)):
            if STEP[s, a, following]:
                more = BEHAVIOR[s, a] * STEP[s, a, following]
                go_on([*states, following], [*actions, a], [*rewards, REWARD[s, a, following]], chance * more)

    go_on([0], [], [], 1.0)
    return found


EPISODES = all_episodes()
CHANCE = np.array([chance for *_, chance in EPISODES])


def padded(episodes, wrong=0.0):
    """Arrays of episodes of different length, NaN where there is no step; values are off by `wrong`."""
    value, q = exact_values()
    arrays = {
        name: np.full((len(episodes), HORIZON), np.nan)
        for name in ("log_prob", "behavior_log_prob", "reward", "q", "next_value")
    }
    where = np.zeros((len(episodes), HORIZON), bool)
    for i, (states, actions, rewards, *_) in enumerate(episodes):
        for t, (s, a, r, following) in enumerate(zip(states, actions, rewards, states[1:])):
            where[i, t] = True
            arrays["log_prob"][i, t] = np.log(POLICY[s, a])
            arrays["behavior_log_prob"][i, t] = np.log(BEHAVIOR[s, a])
            arrays["reward"][i, t] = r
            arrays["q"][i, t] = q[t, s, a] + wrong
            arrays["next_value"][i, t] = value[t + 1, following] + wrong * (following < 2 and t + 1 < HORIZON)
    initial = np.full(len(episodes), value[0, 0] + wrong)
    return jax.tree.map(jnp.asarray, arrays | {"initial_value": initial}), jnp.asarray(where)


def estimates(episodes, wrong=0.0, **options):
    """The estimates of all kinds."""
    arrays, where = padded(episodes, wrong)
    sampling = {name: arrays[name] for name in ("log_prob", "behavior_log_prob", "reward")}
    options = {"discount": DISCOUNT, "where": where} | options
    return {
        "trajectory": importance_sampling(**sampling, weighted=False, per_decision=False, **options),
        "per decision": importance_sampling(**sampling, weighted=False, **options),
        "weighted": importance_sampling(**sampling, per_decision=False, **options),
        "weighted per decision": importance_sampling(**sampling, **options),
        "doubly robust": doubly_robust(**arrays, weighted=False, **options),
        "weighted doubly robust": doubly_robust(**arrays, **options),
    }


def oracle(episodes, wrong=0.0):
    """The same by the papers' own sums, over lists of episodes and with the end as a state of its own."""
    value, q = exact_values()
    values = lambda t, s: value[t, s] + wrong * (s < 2 and t < HORIZON)
    n, ratios, returns = len(episodes), [], []
    for states, actions, rewards, *_ in episodes:
        steps = [POLICY[s, a] / BEHAVIOR[s, a] for s, a in zip(states, actions)]
        product = np.cumprod(steps)
        ratios.append([*product, *[product[-1]] * (HORIZON - len(product))])
        returns.append(sum(DISCOUNT**t * r for t, r in enumerate(rewards)))
    last = [row[-1] for row in ratios]
    sums = [sum(row[t] for row in ratios) for t in range(HORIZON)]
    reward = lambda i, t: episodes[i][2][t] if t < len(episodes[i][2]) else 0.0
    each = [(i, t) for i in range(n) for t in range(HORIZON)]

    def recursion(states, actions, rewards, t=0):  # Jiang and Li, equation (10)
        if t == len(actions):
            return 0.0
        s, a = states[t], actions[t]
        rest = rewards[t] + DISCOUNT * recursion(states, actions, rewards, t + 1) - q[t, s, a] - wrong
        return values(t, s) + POLICY[s, a] / BEHAVIOR[s, a] * rest

    weighted_robust = 0.0  # Thomas and Brunskill, equation (2), whose control variate has two terms
    for i, (states, actions, rewards, *_) in enumerate(episodes):
        for t, (s, a) in enumerate(zip(states, actions)):
            now, before = ratios[i][t] / sums[t], ratios[i][t - 1] / sums[t - 1] if t else 1 / n
            weighted_robust += DISCOUNT**t * (now * (rewards[t] - q[t, s, a] - wrong) + before * values(t, s))
    return {
        "trajectory": np.dot(last, returns) / n,
        "per decision": sum(DISCOUNT**t * ratios[i][t] * reward(i, t) for i, t in each) / n,
        "weighted": np.dot(last, returns) / sum(last),
        "weighted per decision": sum(DISCOUNT**t * ratios[i][t] * reward(i, t) / sums[t] for i, t in each),
        "doubly robust": np.mean([recursion(*episode[:3]) for episode in episodes]),
        "weighted doubly robust": weighted_robust,
    }


@pytest.mark.parametrize("wrong", [0.0, -0.7])
def test_estimates_are_those_of_the_papers(wrong):
    drawn = [EPISODES[i] for i in np.random.default_rng(0).choice(len(EPISODES), 12, p=CHANCE)]
    found, expected = estimates(drawn, wrong), oracle(drawn, wrong)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=name)


def test_over_all_episodes_by_their_chance_every_estimate_is_the_exact_value():
    exact = exact_values()[0][0, 0]
    found = estimates(EPISODES, wrong=2.0, weight=jnp.asarray(CHANCE))
    for name, estimate in found.items():
        np.testing.assert_allclose(estimate, exact, rtol=1e-5, err_msg=name)


def test_with_exact_values_and_certain_steps_no_ratio_matters():
    arrays = {name: jnp.ones((2, 1)) for name in ("reward", "q")} | {"next_value": jnp.zeros((2, 1))}
    for log_prob in (jnp.log(jnp.array([[0.9], [0.5]])), jnp.full((2, 1), -30.0)):
        value = doubly_robust(log_prob, jnp.zeros((2, 1)), **arrays, initial_value=jnp.full(2, 0.9), weighted=False)
        np.testing.assert_allclose(value, 0.9, rtol=1e-6)


def test_a_weight_counts_an_episode_so_often():
    drawn = EPISODES[:4]
    twice = estimates([drawn[0], drawn[0], drawn[2], drawn[3]])
    counted = estimates(drawn, weight=jnp.array([2.0, 0.0, 1.0, 1.0]))
    for name in twice:
        np.testing.assert_allclose(counted[name], twice[name], rtol=1e-5, err_msg=name)


def test_an_episode_that_was_cut_is_completed_by_the_value_of_where_it_was_cut():
    value, _ = exact_values()
    cut = [(states[:2], actions[:1], rewards[:1], chance) for states, actions, rewards, chance in EPISODES]
    arrays, where = padded(cut)
    found = doubly_robust(**arrays, discount=DISCOUNT, where=where, weight=jnp.asarray(CHANCE))
    np.testing.assert_allclose(found, value[0, 0], rtol=1e-5)


def test_long_episodes_of_unlike_policies_have_a_weighted_estimate():
    log_prob = jnp.full((2, 1000), -5.0).at[1].set(-5.5)
    found = importance_sampling(log_prob, jnp.zeros((2, 1000)), jnp.ones((2, 1000)))
    np.testing.assert_allclose(found, 1000.0, rtol=1e-5)
    assert np.isnan(importance_sampling(log_prob, log_prob, log_prob, where=jnp.zeros((2, 1000), bool)))


def test_the_interval_over_episodes_covers_the_exact_value_as_often_as_it_says():
    arrays, where = padded(EPISODES)
    exact = exact_values()[0][0, 0]
    names = ("log_prob", "behavior_log_prob", "reward")
    covered = []
    estimate = jax.jit(
        jax.vmap(
            lambda weight, drawn: importance_sampling(
                *(arrays[name][drawn] for name in names), discount=DISCOUNT, weight=weight, where=where[drawn]
            ),
            in_axes=(0, None),
        )
    )
    rng = np.random.default_rng(0)
    for _ in range(100):
        drawn = jnp.asarray(rng.choice(len(EPISODES), 60, p=CHANCE))
        low, high = episode_interval(lambda counts: estimate(counts, drawn), 60, resamples=200)
        covered.append(low <= exact <= high)
    assert 0.85 <= np.mean(covered) <= 1.0


def test_an_interval_passes_over_resamples_whose_estimate_is_undefined():
    assert episode_interval(lambda counts: np.full(len(counts), np.nan), 3, resamples=5) == pytest.approx(
        (np.nan, np.nan), nan_ok=True
    )
    low, high = episode_interval(lambda counts: np.where(counts[:, 0] > 0, counts @ np.arange(3) / 3, np.nan), 3)
    assert 0 <= low < 1 < high <= 2
    with pytest.raises(ValueError, match="at least one run"):
        episode_interval(lambda counts: counts[:, 0], 0)


def test_an_episode_that_does_not_count_may_have_any_ratio():
    log_prob, behavior_log_prob = jnp.zeros((2, 1)), jnp.array([[0.0], [-200.0]])  # e^200 is no float32
    found = importance_sampling(
        log_prob, behavior_log_prob, jnp.ones((2, 1)), weighted=False, weight=jnp.array([1.0, 0.0])
    )
    assert float(found) == 1.0
