"""The benchmark of policies that remember runs at a tiny size, tunes as it says, and its record holds its figures."""

import json

import numpy as np
import pytest

from experiments.benchmarks import memory, timing
from rlx.training.statistics import bootstrap_interval, interquartile_mean


@pytest.mark.slow
def test_a_quick_run_trains_every_seed_and_writes_nothing(monkeypatch):
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    methods = ["ppo_stacked", "recurrent_ppo_gru"]
    results = memory.main(["--quick", "--tasks", "memory_chain", "--methods", *methods])["results"]
    assert results.keys() == {"memory_chain"} and list(results["memory_chain"]) == methods
    for found in results["memory_chain"].values():
        assert len(found["returns"]) == 8 and np.isfinite(found["returns"]).all()
        assert len(found["tuning"]) == 4 and all(len(values) == 2 for values in found["tuning"].values())


@pytest.mark.parametrize(("peak", "steps"), [(1, (0, 4)), (-3, (-4, 4)), (6, (0, 8))])
def test_a_grid_is_widened_until_its_best_value_lies_inside(peak, steps):
    def runs(seeds, rates):
        returns = -np.abs(np.log10(np.asarray(rates)) - (peak / 2 - 3)) + 0.0 * np.asarray(seeds)
        return returns, returns, 0.0

    found = memory.tune(runs)
    assert list(found) == [float(f"{1e-3 * 10 ** (step / 2):.2g}") for step in range(*steps)]
    assert memory.best(found) == float(f"{1e-3 * 10 ** (peak / 2):.2g}")
    assert min(found) < memory.best(found) < max(found)


def test_a_run_that_diverged_is_never_the_best_and_ties_give_their_middle():
    assert memory.best({1e-3: [1.0, 1.0], 1e-2: [1.0, 1.0], 1e-1: [1.0, 1.0], 1.0: [np.nan, 3.0]}) == 1e-2


def test_the_record_is_what_its_seeds_say():
    (path,) = timing.RESULTS.glob("memory-*.json")
    record = json.loads(path.read_text())
    assert record["settings"]["tasks"].keys() == record["results"].keys() == memory.TASKS.keys()
    for methods in record["results"].values():
        assert methods.keys() == memory.METHODS.keys()
        for found in methods.values():
            assert found["best_inside_grid"] and len(found["returns"]) == len(memory.SEEDS)
            assert found["interquartile_mean"] == pytest.approx(interquartile_mean(found["returns"]))
            assert found["interval"] == pytest.approx([float(x) for x in bootstrap_interval(found["returns"])])
            tuning = {float(rate): values for rate, values in found["tuning"].items()}
            assert found["learning_rate"] == memory.best(tuning)
