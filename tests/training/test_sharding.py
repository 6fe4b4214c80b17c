"""One run on one device, on eight devices and in two processes gives one result."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from rlx.training.sharding import largest_divisor, make_mesh, use_cores

pytestmark = [pytest.mark.long(minutes=1), pytest.mark.optimized]

ROOT = Path(__file__).parents[2]


def environment(devices: int | None):
    variables = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    if devices is not None:
        variables["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    return variables


def start(out, *arguments, devices: int | None = 1):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.mesh_run", str(out), *map(str, arguments)],
        cwd=ROOT,
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "result.npz"
    finish(start(out))
    return np.load(out)


def assert_equal_runs(ours, theirs):
    for name in ours.files:
        if name != "devices":
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("seed_axis", [4, 1])
def test_eight_devices_equal_one(one_device, tmp_path, seed_axis):
    out = tmp_path / "result.npz"
    finish(start(out, 0, 1, 0, seed_axis, devices=8))
    many = np.load(out)
    assert many["devices"] == 8 and one_device["devices"] == 1
    assert_equal_runs(many, one_device)


def test_runs_spread_over_cores_equal_runs_together(one_device, tmp_path):
    out = tmp_path / "result.npz"
    finish(start(out, devices=None))
    spread = np.load(out)
    assert spread["devices"] == largest_divisor(4, len(os.sched_getaffinity(0)))
    assert_equal_runs(spread, one_device)


def test_programs_whose_threads_would_wait_for_each_other_take_one_device():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from rlx.training.compiled import compile_runs
        from rlx.training.program import Program, TrainState
        from rlx.training.sharding import make_mesh

        def devices_used(f):
            def build(setting):
                return Program(
                    init=lambda key: TrainState(jax.random.normal(key, (64, 4, 4)), (), key, jnp.zeros((), int)),
                    step=lambda state: (state._replace(learner=f(state.learner)), {"sum": jnp.sum(state.learner)}),
                    evaluate=lambda state, key: {"sum": jnp.sum(f(state.learner))},
                )

            compiled = compile_runs(
                build, np.arange(4), {}, updates_per_report=50, mesh=make_mesh(4, 1), batching="vmap"
            )
            state, _ = compiled.advance(compiled.init())
            return len(jax.block_until_ready(state.learner).sharding.device_set)

        print(
            devices_used(jnp.sin),
            devices_used(lambda x: jnp.linalg.cholesky(jnp.eye(4) + x @ jnp.swapaxes(x, -1, -2))),
            devices_used(lambda x: jax.pure_callback(np.sin, x, x, vmap_method="broadcast_all")),
        )
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=environment(devices=2), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "1", "1"]


@pytest.mark.slow
def test_environments_on_several_devices_keep_their_samples():
    """Minibatches are taken without a sample leaving its device: nothing is gathered, exchanged or passed on."""
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec as P
        from rlx.algorithms.shuffle import minibatch_positions, taken
        from rlx.training.sharding import make_mesh

        mesh = make_mesh(1, 16, seed=1, env=4)
        rollout = jax.device_put(jnp.arange(8 * 16 * 5.0).reshape(8, 16, 5), NamedSharding(mesh, P(None, "env")))
        position = minibatch_positions(jax.random.key(0), 8, 16, num_minibatches=4, passes=1)
        with jax.set_mesh(mesh):
            program = jax.jit(taken).lower(rollout, position[0]).compile()
        found = program(rollout, jax.device_put(position[0], NamedSharding(mesh, P())))
        np.testing.assert_array_equal(found, np.asarray(rollout).reshape(-1, 5)[np.asarray(position[0]).reshape(-1)])
        words = ("all-gather", "all-to-all", "collective-permute", "all-reduce")
        print(len(found.sharding.device_set), [word for word in words if word in program.as_text()])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=environment(devices=4), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "4 []"


@pytest.mark.slow
def test_two_processes_train_one_run_together(one_device, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    out = tmp_path / "result.npz"
    finish(*[start(out, i, 2, port, 2, devices=2) for i in range(2)])
    together = np.load(out)
    assert together["devices"] == 4
    assert_equal_runs(together, one_device)
    run = Path(f"{out}_run")
    assert (run / "summary.json").exists() and (run / "checkpoints" / "3").is_dir()


def test_meshes_that_do_not_fit_are_refused():
    assert make_mesh(3, 8).shape == {"seed": 1, "env": 1}
    assert isinstance(make_mesh(3, 8), Mesh)
    with pytest.raises(ValueError, match="seed=2 x env=2 does not use the 1 devices"):
        make_mesh(4, 8, seed=2, env=2)


def test_cores_are_dealt_out_evenly():
    assert [largest_divisor(8, limit) for limit in (1, 2, 3, 7, 8, 64)] == [1, 2, 2, 4, 8, 8]
    assert largest_divisor(7, 4) == 1 and largest_divisor(1, 4) == 1


def test_devices_stay_as_they_are_where_jax_runs_already():
    before = jax.devices()
    use_cores(8)
    assert jax.devices() == before
