"""On a CPU a run gives the same numbers alone and in company, bit for bit, with nothing set but what is the default."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rlx.cli.options import Options, plan_options
from rlx.training.compiled import compile_runs, resolved_batching
from rlx.training.program import Program, TrainState
from rlx.training.sharding import make_mesh

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    """Of each kind of source, in a process with two devices."""
    folder = tmp_path_factory.mktemp("seeds")
    variables = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    variables.pop("XLA_FLAGS", None)
    command = [sys.executable, "-m", "tests.training.seed_runs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("kind", ["rollouts", "replay", "dataset", "responses", "pairs"])
def test_a_run_does_not_depend_on_its_company(digests, kind):
    found = digests[kind]
    assert len(found) >= 2 and len(set(found.values())) == 1, found


def test_one_run_takes_one_device_of_a_cpu():
    """Its environments, spread over several, would give other numbers on another number of them."""
    assert make_mesh(1, 8).shape == {"seed": 1, "env": 1}


def doubling(setting):
    return Program(
        init=lambda key: TrainState(jax.random.normal(key, (3,)), (), key, jax.numpy.zeros((), int)),
        step=lambda state: (state._replace(learner=2 * state.learner), {"first": state.learner[0]}),
        evaluate=lambda state, key: {"rate": setting["rate"] + state.learner[0]},
    )


@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_states_are_joined_and_split(batching):
    compiled = compile_runs(
        doubling, np.arange(3), {"rate": np.arange(3.0)}, updates_per_report=2, mesh=make_mesh(3, 1), batching=batching
    )
    start = compiled.join(compiled.init())
    first = np.asarray(start.learner)  # before it is donated
    states, metrics = compiled.advance(compiled.split(start))
    state = compiled.join(states)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), compiled.template
    )
    assert metrics["first"].shape == (3, 2)
    np.testing.assert_array_equal(state.learner, 4 * first)
    np.testing.assert_allclose(compiled.evaluate(states)["rate"], np.arange(3.0) + np.asarray(state.learner)[:, 0])


def test_batching_is_of_the_plan_only_where_it_is_chosen():
    assert "batching" not in plan_options(Options())
    assert plan_options(Options(batching="vmap"))["batching"] == "vmap"
    assert resolved_batching() == "map" and resolved_batching("vmap") == "vmap"
