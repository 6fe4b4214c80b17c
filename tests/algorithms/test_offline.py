import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import algorithms, data, policies
from rlx.algorithms import sac, td3
from rlx.algorithms.actor_critic import Slots
from rlx.algorithms.learner import Transition
from rlx.data.reweighting import row_weight

pytestmark = pytest.mark.long(minutes=1.2)

SPACE = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
BATCH = 8
UNIFORM = {"activation": "relu", "initialization": "uniform"}  # an orthogonal one takes long to compile


def make_dataset(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(rows, 3))
    last = np.arange(rows) % 5 == 4
    return data.make_dataset(
        observation,
        rng.uniform(-2, 2, (rows, 2)),
        rng.normal(size=rows),
        np.roll(observation, -1, 0),
        last & (np.arange(rows) % 2 == 0),
        last & (np.arange(rows) % 2 == 1),
    )


DATASET = make_dataset()


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Each program runs once, on a few numbers: optimizing it would take longer than it saves."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def draw(key, count=BATCH):
    batch = Transition(**data.sample(DATASET, key, count)._asdict())
    return batch._replace(extras=batch.extras | {"return_to_go": data.returns_to_go(DATASET)[batch.extras["index"]]})


def deterministic():
    return policies.deterministic(SPACE, (8,))


def gaussian(kind="tanh"):
    is_tanh = kind == "tanh"
    return policies.gaussian_policy(SPACE, (8,), squash=kind, state_dependent_std=is_tanh, **UNIFORM)


def critics(num=2):
    return policies.action_critic((8,), num=num)


def adam():
    return optax.adam(1e-2)


def td3_parts():
    return deterministic(), critics(), adam(), adam()


def sac_parts(num=2):
    return gaussian(), critics(num), adam(), adam(), adam()


def value():
    return policies.critic((8,), **UNIFORM)


def prdc(**settings):
    return algorithms.prdc.learner(*td3_parts(), DATASET.observation, DATASET.action, **settings)


def a2pr(**settings):
    parts = deterministic(), critics(), value(), policies.action_autoencoder(SPACE, (8,))
    return algorithms.a2pr.learner(*parts, adam(), adam(), adam(), adam(), **settings)


def odice(**settings):
    return algorithms.odice.learner(gaussian("clip"), policies.ensemble(value()), adam(), adam(), **settings)


BOUNDS = {"low": -2.0, "high": 2.0}
LEARNERS = {
    "bc": lambda: algorithms.bc.learner(deterministic(), adam()),
    "awac": lambda: algorithms.awac.learner(gaussian("clip"), critics(), adam(), adam()),
    "iql": lambda: algorithms.iql.learner(gaussian(), value(), critics(), adam(), adam(), adam()),
    "odice": odice,
    "td3_bc": lambda: algorithms.td3_bc.learner(*td3_parts(), **BOUNDS),
    "rebrac": lambda: algorithms.rebrac.learner(*td3_parts(), **BOUNDS),
    "prdc": lambda: prdc(**BOUNDS),
    "a2pr": lambda: a2pr(**BOUNDS),
    "sac_n": lambda: algorithms.edac.learner(*sac_parts(4), eta=None),
    "edac": lambda: algorithms.edac.learner(*sac_parts(4)),
    "cql": lambda: algorithms.cql.learner(*sac_parts(), **BOUNDS, num_actions=3, max_target_backup=True),
    "cal_ql": lambda: algorithms.cql.learner(*sac_parts(), **BOUNDS, num_actions=2, calibrated=True, gap_target=1.0),
}


def run(learner, seed=0, updates=2):
    """State and latest metrics after some updates, as the training program does them."""
    init_key, key = jax.random.split(jax.random.key(seed))

    def update(state, key):
        batch_key, update_key = jax.random.split(key)
        return learner.update(state, draw(batch_key, BATCH * learner.minibatches), update_key)

    state, metrics = jax.lax.scan(update, learner.init(init_key, draw(init_key, 1)), jax.random.split(key, updates))
    return state, jax.tree.map(lambda x: x[-1], metrics)


def compiled(learner, **options):
    return jax.jit(lambda seed: run(learner, seed, **options))(0)


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **({"rtol": 1e-5, "atol": 1e-6} | tolerance)), a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_two_updates_of_two_seeds_are_finite_and_apart(name):
    learner = LEARNERS[name]()

    @jax.jit
    @jax.vmap
    def train(seed):
        state, metrics = run(learner, seed)
        key = jax.random.split(jax.random.key(seed))[0]
        first = learner.init(key, draw(key, 1))
        changed = jax.tree.map(lambda new, old: jnp.any(new != old), state.params, first.params)
        sampled, _ = learner.act(state, DATASET.observation, jax.random.key(1))
        return state.params, metrics, changed, (sampled, learner.mode(state, DATASET.observation))

    params, metrics, changed, actions = train(jnp.arange(2))
    assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves((params, metrics)))
    assert all(jnp.all(x) for x in jax.tree.leaves(changed))
    for action in actions:
        assert action.shape == (2, 40, 2) and jnp.all(jnp.abs(action) <= 2)
    elsewhere = train(jnp.array([5, 0]))[0]
    assert_close(jax.tree.map(lambda x: x[0], params), jax.tree.map(lambda x: x[1], elsewhere), rtol=1e-5, atol=1e-6)


def test_rebrac_without_penalties_is_td3():
    rebrac = algorithms.rebrac.learner(*td3_parts(), actor_beta=0.0, critic_beta=0.0, normalize_q=False)
    smallest = Slots(
        actor_loss=lambda step: (
            -jnp.min(critics().apply(step.state.params["critic"], step.batch.observation, step.action), axis=0)
        )
    )
    assert_close(compiled(rebrac)[0], compiled(td3.learner(*td3_parts(), added=(smallest,)))[0])


@pytest.mark.slow
def test_rebrac_pays_for_the_next_action_within_an_episode_only():
    def targets(beta, batch):
        learner = algorithms.rebrac.learner(*td3_parts(), critic_beta=beta, policy_delay=1, smoothing_std=0.0, **BOUNDS)
        state = learner.init(jax.random.key(0), batch)
        return jax.jit(learner.update)(state, batch, jax.random.key(1))[1]["target"], state

    batch = draw(jax.random.key(3))
    (with_penalty, state), (without, _) = targets(0.5, batch), targets(0.0, batch)
    next_action = deterministic().apply(state.params["actor"], batch.next_observation)
    distance = np.sum((np.asarray(next_action) - batch.extras["next_action"]) ** 2, -1)
    goes_on = ~np.asarray(batch.terminated | batch.truncated)
    np.testing.assert_allclose(without - with_penalty, np.mean(0.99 * 0.5 * distance * goes_on), rtol=1e-4)


def actor_gradient(learner, batch):
    """The actor's gradient of one update, by a step of plain descent with size one."""
    state = learner.init(jax.random.key(0), batch)
    after, _ = learner.update(state, batch, jax.random.key(1))
    step = jax.tree.map(jnp.subtract, state.params["actor"], after.params["actor"])
    return jax.flatten_util.ravel_pytree(step)[0]


@pytest.mark.slow
def test_td3_bc_goes_from_behavior_cloning_to_the_direction_of_td3():
    batch, (actor, critic, _, critic_optimizer) = draw(jax.random.key(0)), td3_parts()
    parts = actor, critic, optax.sgd(1.0), critic_optimizer
    cloning = actor_gradient(algorithms.bc.learner(actor, optax.sgd(1.0)), batch)
    # The two learners draw their initial parameters in different ways: compare at equal ones.
    none, huge = (algorithms.td3_bc.learner(*parts, alpha=alpha, policy_delay=1) for alpha in (0.0, 1e4))
    plain = actor_gradient(td3.learner(*parts, policy_delay=1), batch)
    toward_value = actor_gradient(huge, batch)
    cosine = jnp.dot(plain, toward_value) / jnp.linalg.norm(plain) / jnp.linalg.norm(toward_value)
    assert cosine > 1 - 1e-5
    params = none.init(jax.random.key(0), batch).params["actor"]
    loss = lambda params: jnp.mean((actor.apply(params, batch.observation) - batch.action) ** 2)
    expected = jax.flatten_util.ravel_pytree(jax.grad(loss)(params))[0]
    np.testing.assert_allclose(actor_gradient(none, batch), expected, rtol=1e-4, atol=1e-6)
    assert cloning.shape == expected.shape


@pytest.mark.slow
def test_prdc_with_a_large_beta_clones_at_the_states_of_the_data():
    parts = deterministic(), critics(), optax.sgd(1.0), optax.sgd(1e-3)
    by_state = algorithms.prdc.learner(*parts, DATASET.observation, DATASET.action, beta=1e3, policy_delay=1)
    batch = draw(jax.random.key(0))
    expected = actor_gradient(algorithms.td3_bc.learner(*parts, policy_delay=1), batch)
    np.testing.assert_allclose(actor_gradient(by_state, batch), expected, rtol=1e-4, atol=1e-6)
    by_action = algorithms.prdc.learner(*parts, DATASET.observation, DATASET.action, beta=0.0, policy_delay=1)
    assert not np.allclose(actor_gradient(by_action, batch), expected, atol=1e-4)


@pytest.mark.slow
def test_a2pr_keeps_what_it_trains_apart():
    # Above every value nothing is good: neither a penalty, nor reconstruction, and the actor's step is TD3's.
    learner = a2pr(mask_scale=0.0, policy_delay=1)
    scaled = Slots(actor_loss=algorithms.td3_bc.scaled_value(critics(), 2.5))
    plain = td3.learner(*td3_parts(), added=(scaled,), policy_delay=1)
    batch = draw(jax.random.key(0))
    states = [x.init(jax.random.key(0), batch) for x in (learner, plain)]
    after = [x.update(state, batch, jax.random.key(1))[0] for x, state in zip((learner, plain), states)]
    assert_close(after[0].params, after[1].params)

    # The value goes to the smaller of two targets, and good actions are those above it before its step.
    models = states[0].auxiliary.params
    target, state = [], after[0]
    next_action = policies.target_policy_smoothing(
        jax.random.split(jax.random.split(jax.random.split(jax.random.key(1), 1)[0])[0], 4)[0],
        deterministic().apply(states[0].target_params["actor"], batch.next_observation),
    )
    for params in (states[0].params["critic"], state.params["critic"]):
        next_q = np.min(critics().apply(params, batch.next_observation, next_action), 0)
        target.append(np.asarray(batch.reward) + 0.99 * (1 - np.asarray(batch.terminated)) * next_q)
    v = np.asarray(value().apply(models["value"], batch.observation))
    _, metrics = learner.update(states[0], batch, jax.random.key(1))
    np.testing.assert_allclose(metrics["value_loss"], np.mean((v - np.minimum(*target)) ** 2), rtol=1e-4)
    q = np.asarray(critics().apply(state.params["critic"], batch.observation, batch.action))[0]
    np.testing.assert_allclose(metrics["good_fraction"], np.mean(q > v), rtol=1e-6)


@pytest.mark.slow
def test_cql_and_edac_without_their_penalties_are_sac():
    plain = compiled(sac.learner(*sac_parts()))[0]
    assert_close(compiled(algorithms.edac.learner(*sac_parts(), eta=0.0))[0], plain)
    cql = algorithms.cql.learner(*sac_parts(), **BOUNDS, weight=0.0, num_actions=2, backup_entropy=True)
    assert_close(compiled(cql)[0], plain)


@pytest.mark.slow
def test_cql_lowers_values_off_the_data_and_calibration_holds_them():
    def gap(**settings):
        learner = algorithms.cql.learner(*sac_parts(), **BOUNDS, num_actions=4, **settings)
        return float(compiled(learner, updates=30)[1]["critic_penalty"]) / settings["weight"]

    assert gap(weight=20.0) < gap(weight=1e-4)
    batch = draw(jax.random.key(0))
    high = batch._replace(extras=batch.extras | {"return_to_go": jnp.full(BATCH, 1e3)})
    learner = algorithms.cql.learner(*sac_parts(), **BOUNDS, weight=2.0, num_actions=4, calibrated=True)
    update = jax.jit(lambda batch: learner.update(learner.init(jax.random.key(0), batch), batch, jax.random.key(1)))
    # The bound for two critics, times the weight, up to log-densities and the small values of new networks.
    assert update(high)[1]["critic_penalty"] == pytest.approx(2 * 2.0 * 1e3, rel=0.02)


@pytest.mark.slow
def test_the_multiplier_grows_while_the_gap_is_too_large():
    def multiplier(target):
        learner = algorithms.cql.learner(*sac_parts(), **BOUNDS, num_actions=2, gap_target=target)
        return float(jnp.exp(compiled(learner, updates=3)[0].auxiliary.log_value))

    assert multiplier(-100.0) > np.e > multiplier(100.0)


@pytest.mark.slow
def test_edac_keeps_the_directions_of_its_critics_apart():
    def agreement(eta):
        state = compiled(algorithms.edac.learner(*sac_parts(4), eta=eta), updates=30)[0]
        from rlx.algorithms.actor_critic import action_gradient
        from rlx.regularizers.smoothness import ensemble_gradient_diversity

        gradient = action_gradient(critics(4), state.params["critic"], DATASET.observation, DATASET.action)
        return jnp.mean(ensemble_gradient_diversity(gradient))

    assert agreement(5.0) < agreement(0.0) - 0.1


def test_row_weights_are_those_of_the_trajectories_and_equal_ones_change_nothing():
    returns = np.asarray(DATASET.episode_return, float)
    x = (returns - returns.min()) / np.ptp(returns)
    p = np.repeat(np.exp(x / 0.1), 5)
    np.testing.assert_allclose(row_weight(DATASET), p / p.sum(), rtol=1e-4)
    first = np.c_[np.asarray(DATASET.observation)[::5], np.ones(8)]
    above = returns - first @ np.linalg.lstsq(first, returns, rcond=None)[0]
    x = (above - above.min()) / np.ptp(above)
    p = np.repeat(np.exp(x / 0.1), 5)
    np.testing.assert_allclose(row_weight(DATASET, "advantage"), p / p.sum(), rtol=1e-3)
    np.testing.assert_allclose(np.unique(row_weight(DATASET, "top", fraction=0.25)), [0, 0.1], rtol=1e-6)
    with pytest.raises(data.DatasetError, match="kind must be one of"):
        row_weight(DATASET, "best")

    key = jax.random.key(0)
    equal = data.alias_table(row_weight(DATASET, "uniform"))
    assert_close(data.sample(DATASET, key, 64, weight=equal), data.sample(DATASET, key, 64), rtol=0, atol=0)
    best = int(np.argmax(returns))
    table = data.alias_table(row_weight(DATASET, temperature=1e-3))
    assert set(np.asarray(data.sample(DATASET, key, 64, weight=table).extras["index"]) // 5) == {best}


def test_normalized_observations_reach_the_policy_only():
    normalized = data.normalize_observations(DATASET)
    bare = algorithms.bc.learner(deterministic(), adam())
    learner = algorithms.with_fixed_normalization(bare, normalized.mean, normalized.scale)
    state = learner.init(jax.random.key(0), draw(jax.random.key(0)))
    expected = bare.mode(state, normalized.dataset.observation)
    np.testing.assert_allclose(learner.mode(state, DATASET.observation), expected, rtol=1e-5)
    np.testing.assert_allclose(learner.act(state, DATASET.observation, jax.random.key(0))[0], expected, rtol=1e-5)
    assert learner.update is bare.update
