"""Benchmarks run at a tiny size, and their arithmetic is right; nothing here asserts a speed."""

import importlib
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ppo as wiring
from experiments.benchmarks import efficiency, functions, gpu, peers, seeds, startup, timing

TINY = timing.tiny(timing.SETTINGS["inverted_pendulum"])


@pytest.fixture(scope="module")
def environment():
    return wiring.make_environment(TINY)


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


def test_bare_gradients_take_the_steps_of_adam_on_the_ppo_loss(environment):
    init, steps = efficiency.bare_gradients(TINY, environment)
    batch = efficiency.resident_minibatch(jax.random.key(1), 16, (4,), (1,))
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


@pytest.mark.parametrize("name", ["efficiency", "peers", "seeds", "startup", "gpu"])
def test_quick_run_gives_positive_numbers_and_writes_nothing(name, monkeypatch):
    module = importlib.import_module(f"experiments.benchmarks.{name}")
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    record = module.main(["--quick"])
    numbers = [leaf for leaf in jax.tree.leaves(record) if isinstance(leaf, float)]
    assert numbers and all(np.isfinite(number) and number >= 0 for number in numbers)


def test_functions_are_measured_with_the_gradients_they_carry():
    record = functions.main(["--quick", "--only", "clipped_surrogate"])
    measured = record["elementwise"]["rlx.losses.policy.clipped_surrogate"]
    assert measured["inputs"] == ["log_prob", "behavior_log_prob", "advantage"]
    assert measured["gradients"] == ["log_prob"]
    assert measured["ratio"] > 0 and measured["seconds"] > 0
    logits = functions.main(["--quick", "--only", "categorical_entropy"])["vocabulary"]
    assert logits["rlx.regularizers.entropy.categorical_entropy"]["temporary_over_logits"] > 0


def test_every_benchmark_is_covered():
    assert {module.__name__.rpartition(".")[2] for module in (efficiency, functions, gpu, peers, seeds, startup)} == {
        path.stem for path in timing.RESULTS.parent.glob("*.py") if "def main(" in path.read_text(encoding="utf-8")
    }
