"""Benchmarks run at a tiny size, and their arithmetic is right; nothing here asserts a speed or a return."""

import dataclasses
import importlib
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import (
    brax_sac,
    efficiency,
    functions,
    gpu,
    language_memory,
    memory,
    offline,
    peers,
    reliability,
    seeds,
    startup,
    timing,
    tokens,
    value_based,
)
from experiments.benchmarks.__main__ import benchmarks
from rlx import data
from rlx.algorithms import Transition, grpo
from rlx.policies import transformer
from rlx.recipes import acting
from rlx.training import responses

pytestmark = pytest.mark.long(minutes=2.5)


def tiny(config, make_tiny=timing.tiny):
    """As `timing.tiny`, with a task that compiles in a fraction of the time: what is measured is not under test."""
    return dataclasses.replace(make_tiny(config), env="rlx:pendulum", backend=None)


TINY = tiny(timing.SETTINGS["inverted_pendulum"])


@pytest.fixture(scope="module")
def environment():
    return acting.make_environment(TINY)


def test_alternate_times_in_turn_after_one_untimed_call(monkeypatch):
    calls = []
    clock = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    times = timing.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert times == {"a": [1.0] * 3, "b": [1.0] * 3}


def test_median_ratio_is_taken_pair_by_pair():
    # The ratio of the medians would be 1: the third pair was measured under a load that slowed both.
    assert timing.median_ratio([1.0, 2.0, 30.0], [2.0, 1.0, 10.0]) == 2.0


def test_save_names_the_device_and_keeps_the_record(tmp_path):
    path = timing.save("example", {"seconds": {"a": [1.0, 2.0]}}, tmp_path)
    saved = json.loads(path.read_text())
    assert path.name == f"example-{timing.device_name()}.json"
    assert saved["seconds"] == {"a": [1.0, 2.0]}
    assert saved["machine"]["versions"]["jax"] == jax.__version__


@pytest.mark.slow
def test_bare_gradients_take_the_steps_of_adam_on_the_ppo_loss(environment):
    init, steps = efficiency.bare_gradients(TINY, environment)
    batch = efficiency.resident_minibatch(jax.random.key(1), 16, (3,), (1,))
    params, _ = state = init(jax.random.key(0), batch.observation[0])
    (after, optimizer_state) = steps(state, batch)
    count = TINY.update_epochs * TINY.num_minibatches
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, after)
    assert int(optimizer_state[1][0].count) == count
    assert all(0 < leaf <= 1.1 * count * TINY.learning_rate for leaf in jax.tree.leaves(moved))


def test_bare_environment_steps_as_the_environment_does(environment):
    keys = jax.random.split(jax.random.key(0), TINY.num_envs)
    state, _ = jax.vmap(environment.reset)(keys)
    actions = jnp.full((TINY.unroll_length, TINY.num_envs, 1), 0.5)
    key = jax.random.key(1)
    _, rollout = jax.jit(efficiency.bare_environment(TINY, environment))(state, actions, key)
    step_keys = jax.random.split(jax.random.split(key, TINY.unroll_length)[0], TINY.num_envs)
    _, first = jax.jit(jax.vmap(environment.step))(state, actions[0], step_keys)
    np.testing.assert_allclose(rollout.observation[0], first.observation, rtol=1e-5, atol=1e-6)
    assert rollout.reward.shape == (TINY.unroll_length, TINY.num_envs)


def test_stand_in_replicates_and_leaves_jax_as_it_was():
    had = hasattr(jax, "device_put_replicated")
    with peers.replicated_put():
        copies = jax.device_put_replicated({"x": jnp.arange(3.0)}, jax.local_devices()[:1])
    np.testing.assert_array_equal(copies["x"], np.arange(3.0)[None])
    assert hasattr(jax, "device_put_replicated") == had


def test_only_out_of_memory_counts_as_not_fitting():
    assert gpu.out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: too much\nmore")) == "RESOURCE_EXHAUSTED: too much"
    with pytest.raises(RuntimeError, match="other"):
        gpu.out_of_memory(RuntimeError("other"))


def test_growth_stops_at_the_first_that_does_not_fit(monkeypatch):
    def fits_up_to_32(config, num_seeds, repetitions):
        return {"num_envs": config.num_envs} | ({"error": "full"} if config.num_envs > 32 else {})

    monkeypatch.setattr(gpu, "steps_per_second", fits_up_to_32)
    counts = [row["num_envs"] for row in gpu.most_environments(TINY, 8, 1024, 1)]
    assert counts == [8, 16, 32, 64]


@pytest.mark.slow
def test_bare_gradients_are_those_of_the_offline_learner():
    """Without noise on the target's actions, one update of TD3+BC on the same minibatches."""
    size = offline.TINY._replace(updates=offline.DELAY)
    dataset = offline.make_dataset(jax.random.key(0), size.rows)
    batch = data.sample(dataset, jax.random.key(1), (offline.DELAY, size.batch_size))
    init, steps = offline.bare_gradients(size)
    start = jax.jit(init)(jax.random.key(2))
    (actor, critic), targets, _ = jax.jit(steps)(start, batch, jnp.zeros_like(batch.action))

    learner = offline.make_learner(size, smoothing_std=0.0)
    flat = Transition(**jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch._asdict()))
    state = jax.jit(learner.init)(jax.random.key(3), flat)
    params = dict(zip(("actor", "critic"), start[0]))
    state, _ = jax.jit(learner.update)(state._replace(params=params, target_params=params), flat, jax.random.key(4))
    same = lambda ours, theirs: jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs
    )
    same({"actor": actor, "critic": critic}, state.params)
    same(dict(zip(("actor", "critic"), targets)), state.target_params)


def test_returns_are_compared_by_the_lower_end_of_braxs_interval():
    runs = {"sac": [5.0] * 4, "td3": [0.9] * 4, "brax": [1.0, 1.0, 9.0, 9.0]}
    results = brax_sac.summary({name: {"eval_return_mean": returns} for name, returns in runs.items()})
    assert results["brax"]["interquartile_mean"] == 5.0 and results["brax"]["interval"][0] == 1.0
    assert results["sac"]["reaches_brax"] and not results["td3"]["reaches_brax"]
    assert "reaches_brax" not in results["brax"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ("efficiency", "gpu", "language_memory", "offline", "peers", "seeds", "startup"))
def test_quick_run_gives_positive_numbers_and_writes_nothing(name, monkeypatch):
    module = importlib.import_module(f"experiments.benchmarks.{name}")
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    if name != "peers":  # one of them knows Brax's tasks only
        monkeypatch.setattr(timing, "tiny", tiny)
    record = module.main(["--quick"])
    numbers = [leaf for leaf in jax.tree.leaves(record) if isinstance(leaf, float)]
    assert numbers and all(np.isfinite(number) and number >= 0 for number in numbers)


@pytest.mark.slow
def test_quick_comparison_with_brax_evaluates_all_alike(monkeypatch):
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    record = brax_sac.main(["--quick"])
    # 4 updates of 2 gradient steps, on 8 environments after 4 random steps of each.
    assert record["gradient_steps"] == {"sac": 8} and set(record["results"]) == {"sac", "brax"}
    for result in record["results"].values():
        assert result["num_finite"] == 2 and result["runs"]["eval_episode_length"] == [20.0, 20.0]
        # Rewards are positions, and each of 20 steps of 0.02 s may add 0.02 to the speed.
        assert 0 <= result["interval"][0] <= result["interval"][1] <= 0.02**2 * 20 * 21 * 22 / 6 + 1e-6


@pytest.fixture(scope="module")
def sampled():
    """A tiny policy with its sampled batch, and what it was sampled from."""
    size = tokens.tiny(tokens.medium())
    params = transformer.init(jax.random.key(0), size.model)
    problems = responses.draw(jax.random.key(1), size.task, "train", size.num_prompts)

    @jax.jit
    def sample(params):
        key = jax.random.key(2)
        return responses.rollout(key, size.model, params, size.task, problems, group_size=size.group_size)

    return size, params, sample(params), tokens.read_prompts(size, params, problems)


@pytest.mark.slow
def test_bare_decode_steps_end_at_the_logits_of_the_whole(sampled):
    size, params, batch, state = sampled
    flat = lambda x: x.reshape(-1, x.shape[-1])
    assert np.all(batch.where)  # nothing ends a response
    whole = jnp.concatenate([flat(batch.prompt), flat(batch.token)], axis=1)
    expected = transformer.apply(size.model, params, whole)[:, -1]
    got = jax.jit(tokens.bare_decode, static_argnums=0)(size, params, state, flat(batch.token))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_bare_gradient_is_that_of_the_score_that_learning_takes(sampled):
    size, params, batch, _ = sampled
    flat = lambda x: x.reshape(-1, x.shape[-1])
    bare = jax.jit(tokens.bare_gradient, static_argnums=0)(size, params, flat(batch.prompt), flat(batch.token))
    score = jax.jit(jax.grad(lambda params: -jnp.mean(grpo.score(size.model, params, batch).log_prob)))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), bare, score)


@pytest.mark.slow
def test_sampling_and_learning_of_tokens_are_compared_with_bare_steps(monkeypatch):
    """Qwen's structure, tiny: every program runs, and ratios and shares follow from what is measured."""
    seconds = {
        "update": 20.0,
        "rollout": 8.0,
        "sampling": 5.0,
        "decode": 4.0,
        "bare_decode": 3.0,
        "score": 1.0,
        "learning": 11.0,
        "learning_longer": 31.0,
        "bare_gradient": 9.0,
        "bare_step": 9.5,
    }

    def alternate(functions, repetitions):
        assert repetitions == 1
        for function in functions.values():
            function(), function()  # the second goes on from the state that the first left
        return {name: [seconds[name]] for name in functions}

    monkeypatch.setattr(timing, "alternate", alternate)
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    result = tokens.main(["--quick", "--model", "qwen2.5-0.5b"])["results"]["qwen2.5-0.5b"]
    assert result["settings"]["model"]["dtype"] == "bfloat16" and result["settings"]["model"]["attention_bias"]
    assert result["ratios"] == pytest.approx(
        {"sampling": 0.6, "decode": 0.75, "learning": 0.9, "learning_with_step": 0.95}
    )
    assert result["shares"] == pytest.approx({"sampling": 0.4, "score": 0.05, "gradient_steps": 0.5, "rest": 0.05})
    assert result["new_tokens_per_second"]["sampling"] == 4 * 4 / 5.0
    assert result["bytes"].keys() == seconds.keys() and min(result["bytes"].values()) > 0


@pytest.mark.slow
def test_the_size_for_a_gpu_is_qwens_and_traces():
    size = tokens.qwen()
    program = tokens.make_program(size)
    state = jax.eval_shape(program.init, jax.random.key(0))
    after, metrics = jax.eval_shape(program.step, state)
    assert tokens.num_parameters(size) == 494_032_768  # of Qwen2.5-0.5B
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics["loss"].shape == ()


def test_functions_are_measured_with_the_gradients_they_carry():
    record = functions.main(["--quick", "--only", "clipped_surrogate"])
    measured = record["elementwise"]["rlx.losses.policy.clipped_surrogate"]
    assert measured["inputs"] == ["log_prob", "behavior_log_prob", "advantage"]
    assert measured["gradients"] == ["log_prob"]
    assert measured["ratio"] > 0 and measured["seconds"] > 0
    logits = functions.main(["--quick", "--only", "categorical_entropy"])["vocabulary"]
    assert logits["rlx.regularizers.entropy.categorical_entropy"]["temporary_over_logits"] > 0


@pytest.mark.slow
def test_a_quick_look_at_reliability_finds_nothing(monkeypatch):
    """A kill at each kind of moment, signals, a full disk where one may be mounted, and two processes on one folder."""
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    found = reliability.main(["--quick"])["results"]
    assert all(tried == survived for tried, survived in found["kills"]["ppo"]["tried_and_survived"].values())
    assert all(of["same_end"] == len(of["seconds"]) for of in found["signals"].values())
    assert found["company"]["second_code"] == 2 and found["company"]["first_unharmed"]
    assert found["commands"]["not"] == [] and all(of["not"] == [] for of in found["files"].values())
    disks = {name: of for name, of in found["disks"].items() if name != "not_tried"}
    assert all(of["same_end"] == len(of["codes"]) and max(of["lines"]) < 10 for of in disks.values()), disks


def test_every_benchmark_is_covered():
    covered = (
        *(
            brax_sac,
            efficiency,
            functions,
            gpu,
            language_memory,
            memory,
            offline,
            peers,
            reliability,
            seeds,
            startup,
            tokens,
        ),
        value_based,
    )
    assert {module.__name__.rpartition(".")[2] for module in covered} == benchmarks().keys()
