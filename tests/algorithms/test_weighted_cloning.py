"""Weighted behavior cloning: one update of each against NumPy in float64, and the limits of its slots."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import policies
from rlx.algorithms import awac, bc, iql, odice, weighted_cloning
from rlx.algorithms.learner import Transition

SIZE, GAMMA, TAU, LR = 6, 0.9, 0.1, 0.5
RNG = np.random.default_rng(0)
S, A, R, NEXT = (
    RNG.normal(size=(SIZE, 2)),
    RNG.normal(size=(SIZE, 1)),
    RNG.normal(size=SIZE),
    RNG.normal(size=(SIZE, 2)),
)
DONE = np.array([True, False, False, True, False, False])
BATCH = Transition(
    *(jnp.asarray(x, jnp.float32) for x in (S, A, R)), jnp.asarray(DONE), ~jnp.asarray(DONE), jnp.float32(NEXT), {}
)
D = GAMMA * (1 - DONE)
THETA = RNG.normal(size=2)
V = RNG.normal(size=(2, 2))
Q = RNG.normal(size=(2, 3))

# Linear networks: π(·|s) = N(s·θ, 1), V_i(s) = s·v_i, Q_i(s, a) = [s, a]·q_i.
POLICY = policies.Network(
    lambda key, s: jnp.float32(THETA),
    lambda params, s: policies.gaussian((s @ params)[..., None], jnp.ones(1), squash="identity"),
)
VALUE = policies.Network(lambda key, s: jnp.float32(V[0]), lambda params, s: s @ params)
VALUES = policies.Network(lambda key, s: jnp.float32(V), lambda params, s: jnp.einsum("is,...s->i...", params, s))
CRITIC = policies.Network(
    lambda key, s, a: jnp.float32(Q),
    lambda params, s, a: jnp.einsum("is,...s->i...", params, jnp.concatenate([s, a], -1)),
)
SA = np.concatenate([S, A], 1)


def one_update(learner, key=0):
    state = learner.init(jax.random.key(0), BATCH)
    return (state, *learner.update(state, BATCH, jax.random.key(key)))


def policy_after(weight):
    """A step of −mean w·log N(a; s·θ, 1), averaged over any leading axis of the weight."""
    gradient = -np.mean(weight * (A[:, 0] - S @ THETA), axis=tuple(range(weight.ndim - 1)))
    return THETA - LR * np.mean(gradient[:, None] * S, 0)


def sgd():
    return optax.sgd(LR)


def test_behavior_cloning_is_a_step_of_the_negative_log_likelihood():
    _, state, metrics = one_update(bc.learner(POLICY, sgd()))
    np.testing.assert_allclose(state.params["actor"], policy_after(np.ones(SIZE)), rtol=1e-5)
    expected = np.mean((A[:, 0] - S @ THETA) ** 2) / 2 + np.log(2 * np.pi) / 2
    np.testing.assert_allclose(metrics["actor_loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("tau_v", [0.7, 0.5])
def test_implicit_q_learning(tau_v):
    learner = iql.learner(
        POLICY, VALUE, CRITIC, sgd(), sgd(), sgd(), expectile=tau_v, beta=3.0, max_weight=4.0, discount=GAMMA, tau=TAU
    )
    before, state, metrics = one_update(learner)
    advantage = np.min(SA @ Q.T, 1) - S @ V[0]
    asymmetry = np.where(advantage < 0, 1 - tau_v, tau_v)
    value = V[0] + LR * np.mean((2 * asymmetry * advantage)[:, None] * S, 0)
    if tau_v == 0.5:  # a plain regression on the mean
        np.testing.assert_allclose(value, V[0] - LR * np.mean(-advantage[:, None] * S, 0))
    error = SA @ Q.T - (R + D * (NEXT @ V[0]))[:, None]
    critic = Q - LR * (2 * error[..., None] * SA[:, None]).mean(0) / 2
    weight = np.minimum(np.exp(3 * advantage), 4)
    np.testing.assert_allclose(state.params["value"], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.params["critic"], critic, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.target_params["critic"], Q + TAU * (critic - Q), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.params["actor"], policy_after(weight), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["weight"], weight.mean(), rtol=1e-4)
    assert set(before.target_params) == {"critic"} and state.step == 1


def test_a_deterministic_policy_of_implicit_q_learning_sums_over_the_dimensions_of_an_action():
    batch = BATCH._replace(action=jnp.float32(np.concatenate([A, 2 * A], 1)))
    theta, critic = np.stack([THETA, -THETA], 1), np.concatenate([Q, Q[:, :1]], 1)
    actor = policies.Network(lambda key, s: jnp.float32(theta), lambda params, s: s @ params)
    learner = iql.learner(
        actor, VALUE, CRITIC._replace(init=lambda key, s, a: jnp.float32(critic)), sgd(), sgd(), sgd(), max_weight=4.0
    )
    state, _ = learner.update(learner.init(jax.random.key(0), batch), batch, jax.random.key(0))
    action = np.asarray(batch.action, float)
    weight = np.minimum(np.exp(3 * (np.min(np.concatenate([S, action], 1) @ critic.T, 1) - S @ V[0])), 4)
    expected = theta - LR * np.einsum("n,nd,ns->sd", weight, 2 * (S @ theta - action), S) / SIZE
    np.testing.assert_allclose(state.params["actor"], expected, rtol=1e-4, atol=1e-6)


def test_awac():
    learner = awac.learner(POLICY, CRITIC, sgd(), sgd(), temperature=0.5, discount=GAMMA, tau=TAU)
    _, state, _ = one_update(learner)
    next_key, now_key = jax.random.split(jax.random.key(0))
    noise = [np.asarray(jax.random.normal(key, (SIZE, 1)), float) for key in (next_key, now_key)]
    next_action, own = NEXT @ THETA[:, None] + noise[0], S @ THETA[:, None] + noise[1]
    target = R + D * np.min(np.concatenate([NEXT, next_action], 1) @ Q.T, 1)
    critic = Q - LR * (2 * (SA @ Q.T - target[:, None])[..., None] * SA[:, None]).mean(0)
    advantage = np.min(SA @ critic.T, 1) - np.min(np.concatenate([S, own], 1) @ critic.T, 1)
    weight = np.minimum(np.exp(advantage / 0.5), 100)
    np.testing.assert_allclose(state.params["critic"], critic, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.params["actor"], policy_after(weight), rtol=1e-3, atol=1e-5)


def dice_gradients(eta=1.0, lam=0.6):
    """∇linear, g_f, g_b of both linear values under the Pearson divergence, by hand."""
    slope = lambda y: np.maximum(y / 2 + 1, 0)
    target, target_next = np.min(S @ V.T, 1), np.min(NEXT @ V.T, 1)
    forward = R + D * target_next - (S @ V.T).T
    backward = R + D * (NEXT @ V.T).T - target
    count = 2 * SIZE
    linear = np.repeat((1 - lam) * S.sum(0)[None], 2, 0) / count
    g_f = -lam * np.einsum("in,ns->is", slope(forward), S) / count
    g_b = lam * eta * np.einsum("in,ns->is", slope(backward), D[:, None] * NEXT) / count
    return linear, g_f, g_b, forward


@pytest.mark.parametrize("gradient, eta", [("orthogonal", 0.7), ("orthogonal", 0.0), ("semi", 0.7)])
def test_odice(gradient, eta):
    learner = odice.learner(POLICY, VALUES, sgd(), sgd(), eta=eta, gradient=gradient, discount=GAMMA, tau=TAU)
    _, state, _ = one_update(learner)
    linear, g_f, g_b, residual = dice_gradients(eta)
    if gradient == "semi" or eta == 0:
        total = linear + g_f
    else:
        total = linear + g_f + g_b - np.sum(g_f * g_b) / np.sum(g_f * g_f) * g_f
    value = V - LR * total
    np.testing.assert_allclose(state.params["value"], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.target_params["value"], V + TAU * (value - V), rtol=1e-4, atol=1e-6)
    weight = np.clip(residual, 0, 100)
    np.testing.assert_allclose(state.params["actor"], policy_after(weight), rtol=1e-4, atol=1e-6)


def test_the_true_gradient_of_dice_goes_through_both_values():
    learner = odice.learner(POLICY, VALUES, sgd(), sgd(), gradient="true", discount=GAMMA)
    _, state, _ = one_update(learner)
    residual = R + D * (NEXT @ V.T).T - (S @ V.T).T
    slope = np.maximum(residual / 2 + 1, 0)
    gradient = 0.6 * np.einsum("in,ns->is", slope, D[:, None] * NEXT - S) / (2 * SIZE)
    expected = V - LR * (dice_gradients()[0] + gradient)
    np.testing.assert_allclose(state.params["value"], expected, rtol=1e-4, atol=1e-6)


def test_reverse_kl_weighs_by_the_exponential_of_the_residual_less_one():
    learner = odice.learner(POLICY, VALUES, sgd(), sgd(), divergence="reverse_kl", discount=GAMMA)
    _, state, _ = one_update(learner)
    weight = np.minimum(np.exp(dice_gradients()[3] - 1), 100)
    np.testing.assert_allclose(state.params["actor"], policy_after(weight), rtol=1e-3, atol=1e-5)


def test_weights_of_one_are_behavior_cloning_and_a_penalty_is_added():
    plain = one_update(bc.learner(POLICY, sgd()))[1].params["actor"]
    values = awac.policy_values(CRITIC, sgd())
    for weight in (None, jnp.ones_like):
        weighted = weighted_cloning.learner(POLICY, sgd(), values=values, weight=weight)
        np.testing.assert_allclose(one_update(weighted)[1].params["actor"], plain, rtol=1e-6)
    flat = awac.learner(POLICY, CRITIC, sgd(), sgd(), temperature=1e9)
    np.testing.assert_allclose(one_update(flat)[1].params["actor"], plain, rtol=1e-5)

    penalty = lambda batch, output: jnp.sum(output.mode() ** 2, -1)
    _, state, metrics = one_update(weighted_cloning.learner(POLICY, sgd(), penalty=penalty))
    expected = policy_after(np.ones(SIZE)) - LR * np.mean((2 * S @ THETA)[:, None] * S, 0)
    np.testing.assert_allclose(state.params["actor"], expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["actor_penalty"], np.mean((S @ THETA) ** 2), rtol=1e-5)


METHODS = {
    "awac": lambda **slots: awac.learner(POLICY, CRITIC, sgd(), sgd(), **slots),
    "iql": lambda **slots: iql.learner(POLICY, VALUE, CRITIC, sgd(), sgd(), sgd(), **slots),
    "odice": lambda **slots: odice.learner(POLICY, VALUES, sgd(), sgd(), **slots),
}


@pytest.mark.parametrize("name", METHODS)
def test_another_weight_and_a_penalty_take_their_slots_in_every_method(name):
    plain = one_update(bc.learner(POLICY, sgd()))[1].params["actor"]
    other = one_update(METHODS[name](weight=jnp.ones_like))[1].params["actor"]
    np.testing.assert_allclose(other, plain, rtol=1e-6)
    assert not np.allclose(one_update(METHODS[name]())[1].params["actor"], plain, rtol=1e-3)
    penalty = lambda batch, output: jnp.sum(output.mode() ** 2, -1)
    both = one_update(METHODS[name](weight=jnp.ones_like, penalty=penalty))[1].params["actor"]
    cloned = one_update(bc.learner(POLICY, sgd(), penalty=penalty))[1].params["actor"]
    np.testing.assert_allclose(both, cloned, rtol=1e-6)


def test_squashed_actions_are_taken_back_to_where_they_came_from():
    space = gymnasium.spaces.Box(np.float32([-2, 0]), np.float32([2, 3]))
    raw = jnp.float32(RNG.normal(size=(5, 2)))
    for kind in ("tanh", "clip"):
        given = policies.gaussian(jnp.zeros((5, 2)), jnp.ones(2), space.low, space.high, squash=kind)
        inside = raw if kind == "tanh" else jnp.clip(raw, space.low, space.high)
        np.testing.assert_allclose(weighted_cloning.raw_action(given, given.action(raw)), inside, rtol=1e-3, atol=1e-4)
    beta = policies.beta(jnp.full((5, 2), 2.0), jnp.full((5, 2), 2.0), space.low, space.high)
    unit = jax.nn.sigmoid(raw)
    np.testing.assert_allclose(weighted_cloning.raw_action(beta, beta.action(unit)), unit, rtol=1e-3)
    at_bound = policies.gaussian(jnp.zeros(2), jnp.ones(2), space.low, space.high, squash="tanh")
    assert jnp.all(jnp.isfinite(weighted_cloning.cloning_loss(at_bound, jnp.float32(space.high))))


def test_wrong_slots_are_refused():
    with pytest.raises(ValueError, match="needs values"):
        weighted_cloning.learner(POLICY, sgd(), weight=jnp.ones_like)
    with pytest.raises(ValueError, match="gradient must be"):
        odice.dice_values(VALUES, sgd(), gradient="half")
    with pytest.raises(ValueError, match="divergence must be"):
        odice.learner(POLICY, VALUES, sgd(), sgd(), divergence="alpha")
