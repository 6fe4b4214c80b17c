import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses import policy
from rlx.losses.preference import group_alignment
from rlx.returns import group_relative

discriminative = jax.jit(policy.discriminative, static_argnames=("score", "token_axis", "group_axis"))
implicit_actor_critic = jax.jit(
    policy.implicit_actor_critic, static_argnames=("baseline", "class_balance", "token_axis")
)

LOG_PROB = jnp.array([[[-0.5, -1], [-0.8, -0.6], [-2, -0.4]]])
BEHAVIOR = jnp.array([[[-0.6, -0.9], [-0.8, -0.7], [-1.8, 0]]])
REWARD = jnp.array([[1.0, 0, 0]])
WHERE = jnp.array([[[True, True], [True, True], [True, False]]])


def slope(function, log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: function(log_prob, *args, **options).sum()))(log_prob)


@pytest.fixture
def groups(rng):
    """Questions with both outcomes, with one, and with a rollout that has no tokens."""
    log_prob, behavior = rng.uniform(-3, 0, (2, 5, 4, 6))
    reward, where = (rng.random((5, 4)) < 0.5).astype(float), rng.random((5, 4, 6)) < 0.7
    reward[0], reward[1], reward[2] = 1, 0, [1, 0, 0, 1]
    where[:, :, 0], where[2, 1] = True, False
    return log_prob, behavior, reward, where


def numpy_discriminative(log_prob, behavior, reward, where, score, temperature):
    token = np.exp(log_prob - behavior) if score == "ratio" else log_prob
    losses = []
    for q in range(len(log_prob)):
        members = [i for i in range(4) if where[q, i].any()]
        scores = {i: token[q, i][where[q, i]].mean() for i in members}
        correct = [scores[i] for i in members if reward[q, i] > 0]
        wrong = np.array([scores[i] for i in members if reward[q, i] <= 0])
        if not correct or not len(wrong):
            losses.append(0.0)
            continue
        hardest = wrong.mean() if np.isinf(temperature) else temperature * np.log(np.exp(wrong / temperature).mean())
        losses.append(hardest - np.mean(correct))
    return losses


def numpy_actor_critic(log_prob, behavior, reward, where, temperature, baseline, class_balance):
    losses = np.zeros(reward.shape)
    for q in range(len(reward)):
        members = [i for i in range(4) if where[q, i].any()]
        z = {i: temperature * (log_prob - behavior)[q, i][where[q, i]].sum() for i in members}
        values, outcomes = np.array(list(z.values())), reward[q, members]
        for i in members:
            others = [z[j] for j in members if j != i]
            psi = {
                "none": z[i],
                "leave_one_out": z[i] - np.mean(others),
                "group": (z[i] - values.mean()) / (values.std(ddof=1) + 1e-6),
            }[baseline]
            weight = 1.0
            if class_balance and len(set(outcomes)) > 1:
                weight = len(members) / (2 * np.sum(outcomes == reward[q, i]))
            prob = 1 / (1 + np.exp(-psi))
            losses[q, i] = -weight * (reward[q, i] * np.log(prob) + (1 - reward[q, i]) * np.log(1 - prob))
    return losses


def test_discriminative_oracle() -> None:
    call = lambda *args, **options: discriminative(*args, where=WHERE, **options)
    arrays = LOG_PROB, BEHAVIOR, REWARD
    np.testing.assert_allclose(call(*arrays), [-0.57889], rtol=1e-5)
    expected = [[[-0.5, -0.5], [0.266227, 0.266227], [0.467546, 0]]]
    np.testing.assert_allclose(slope(call, *arrays), expected, rtol=2e-6)
    np.testing.assert_allclose(call(*arrays, temperature=jnp.inf), [-0.6], rtol=1e-6)
    expected = [[[-0.5, -0.5], [0.25, 0.25], [0.5, 0]]]
    np.testing.assert_allclose(slope(call, *arrays, temperature=jnp.inf), expected, rtol=1e-6)
    np.testing.assert_allclose(call(*arrays, score="ratio", temperature=1.0), [-0.062526], rtol=1e-5)


@pytest.mark.parametrize(
    ("score", "temperature"), [("log_likelihood", 0.3), ("log_likelihood", np.inf), ("ratio", 1.0)]
)
def test_discriminative_equals_numpy_and_finite_differences(groups, check_gradient, score, temperature) -> None:
    expected = numpy_discriminative(*groups, score, temperature)
    log_prob, behavior, reward, where = map(jnp.asarray, groups)
    options = {"score": score, "temperature": temperature}
    np.testing.assert_allclose(discriminative(log_prob, behavior, reward, where=where, **options), expected, rtol=1e-10)
    check_gradient(jax.jit(lambda x: discriminative(x, behavior, reward, where=where, **options)), log_prob)
    turned = [jnp.moveaxis(x, (0, 1, 2), (1, 2, 0)) for x in (log_prob, behavior, where)]
    loss = discriminative(*turned[:2], reward, where=turned[2], token_axis=0, group_axis=2, **options)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)


def test_discriminative_limits(rng, float64) -> None:
    log_prob = jnp.asarray(rng.uniform(-3, 0, (3, 4, 6)))
    reward = jnp.array([1.0, 0, 0, 1]) * jnp.ones((3, 1))
    call = lambda x, **options: discriminative(x, x, reward, **options)
    np.testing.assert_allclose(call(log_prob, temperature=1e12), call(log_prob, temperature=jnp.inf), rtol=1e-10)
    np.testing.assert_allclose(call(log_prob - 2), call(log_prob), rtol=1e-12)
    pair, one_each = log_prob[:, :2], reward[:, :2]
    for temperature in (0.01, 10.0, jnp.inf):
        loss = discriminative(pair, pair, one_each, temperature=temperature)
        np.testing.assert_allclose(loss, jnp.diff(pair.mean(-1))[:, 0], rtol=1e-10)


def test_high_temperatures_keep_their_digits_in_float32() -> None:
    options = {"where": WHERE, "temperature": 1e6}
    np.testing.assert_allclose(discriminative(LOG_PROB, BEHAVIOR, REWARD, **options), [-0.6], rtol=1e-6)


def test_implicit_actor_critic_oracle() -> None:
    call = lambda *args, **options: implicit_actor_critic(*args, where=WHERE, **options)
    arrays = LOG_PROB, BEHAVIOR, REWARD
    np.testing.assert_allclose(call(*arrays), [[1.002689, 0.598604, 0.431955]], rtol=2e-6)
    expected = [[[-1.101625, -1.101625], [0.613819, 0.613819], [0.487807, 0]]]
    np.testing.assert_allclose(slope(call, *arrays), expected, rtol=2e-6)


@pytest.mark.parametrize("baseline", ["leave_one_out", "group", "none"])
@pytest.mark.parametrize("class_balance", [True, False])
def test_implicit_actor_critic_equals_numpy(groups, check_gradient, baseline, class_balance) -> None:
    expected = numpy_actor_critic(*groups, 0.3, baseline, class_balance)
    log_prob, behavior, reward, where = map(jnp.asarray, groups)
    options = {"baseline": baseline, "class_balance": class_balance, "temperature": 0.3, "where": where}
    np.testing.assert_allclose(implicit_actor_critic(log_prob, behavior, reward, **options), expected, rtol=1e-9)
    if class_balance:
        check_gradient(jax.jit(lambda x: implicit_actor_critic(x, behavior, reward, **options)), log_prob)
        turned = {**options, "where": jnp.moveaxis(where, -1, 0), "token_axis": 0}
        loss = implicit_actor_critic(*(jnp.moveaxis(x, -1, 0) for x in (log_prob, behavior)), reward, **turned)
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
    gradient = slope(implicit_actor_critic, log_prob, behavior, reward, **options)
    per_rollout = gradient[:, :, 0].sum(-1)  # of the first token, which every rollout but one has
    assert np.allclose(per_rollout, 0, atol=1e-12) == (baseline != "none")


def test_on_policy_the_labels_are_the_advantage(groups, float64) -> None:
    log_prob, _, reward, _ = map(jnp.asarray, groups)
    loss = implicit_actor_critic(log_prob, log_prob, reward, class_balance=False)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-12)
    gradient = slope(implicit_actor_critic, log_prob, log_prob, reward, class_balance=False)
    advantage = group_relative(reward, center="leave_one_out", scale="none")
    np.testing.assert_allclose(gradient, jnp.broadcast_to(-advantage[..., None], gradient.shape), atol=1e-12)
    standardized = slope(implicit_actor_critic, log_prob, log_prob, reward, baseline="group")
    assert np.all(np.isfinite(standardized))


def test_class_weights_sum_to_the_group() -> None:
    zeros = jnp.zeros((1, 4, 2))
    for reward, weight in (([1.0, 0, 0, 0], [2, 2 / 3, 2 / 3, 2 / 3]), ([1.0, 1, 1, 1], [1, 1, 1, 1])):
        loss = implicit_actor_critic(zeros, zeros, jnp.array([reward]))
        np.testing.assert_allclose(loss[0] / np.log(2), weight, rtol=1e-6)


def test_a_rollout_without_tokens_may_have_any_reward(groups, float64) -> None:
    log_prob, behavior, reward, where = map(jnp.asarray, groups)
    for function in (discriminative, implicit_actor_critic):
        clean = slope(function, log_prob, behavior, reward, where=where)
        poisoned = slope(function, log_prob, behavior, reward.at[2, 1].set(jnp.nan), where=where)
        np.testing.assert_array_equal(poisoned, clean)


def test_three_contrasts_of_one_group_agree_on_the_direction(rng, float64) -> None:
    """On-policy, all three raise the correct rollouts by one amount and lower the wrong ones by another."""
    log_prob, reward = jnp.asarray(rng.uniform(-1, 0, (1, 5, 1))), jnp.array([[1.0, 0, 0, 1, 0]])
    alignment = lambda x: group_alignment(x[..., 0], log_prob[..., 0], reward)
    contrast = lambda x: discriminative(x, log_prob, reward, temperature=jnp.inf)
    actor_critic = lambda x: implicit_actor_critic(x, log_prob, reward)
    for loss in (alignment, contrast, actor_critic):
        gradient = np.asarray(slope(loss, log_prob))[0, :, 0]
        np.testing.assert_allclose(gradient / gradient[0], [1, -2 / 3, -2 / 3, 1, -2 / 3], rtol=1e-9)
        assert gradient[0] < 0
