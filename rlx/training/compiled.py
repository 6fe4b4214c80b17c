"""Programs of many runs at once, compiled ahead of time over a mesh."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

from rlx.training.program import Program
from rlx.training.sharding import state_sharding

# From this many environments on, one run fills the caches of a CPU, and batching runs only makes them compete.
ENVS_TO_MAP_RUNS = 256


class Build(NamedTuple):
    """From the values of swept hyperparameters to a program.

    Attributes:
        make: `(values, data) -> Program`; values are scalar arrays by name.
        data: arrays that are too large to be constants of a compiled program, such as a dataset; a pytree, the same
            for all runs.
    """

    make: Callable[[Mapping[str, Array], PyTree], Program]
    data: PyTree = None

    def __call__(self, values: Mapping[str, Array]) -> Program:
        return self.make(values, self.data)


# Evaluation draws from a stream of its own, so that evaluating more or less often changes no training run.
_EVALUATION_STREAM = 0x45564C


class CompiledRuns(NamedTuple):
    """Compiled functions over a leading axis `[run]`.

    Attributes:
        init: `() -> state`.
        advance: `state -> (state, metrics [run, update])`; donates `state`.
        evaluate: `state -> metrics [run]`.
        template: shapes, dtypes and shardings of `state`.
        layout: what the leaves of a run's state are, as of `Program`.
        seconds: time that tracing and compilation took.
    """

    init: Callable[[], PyTree]
    advance: Callable[[PyTree], tuple[PyTree, dict[str, Array]]]
    evaluate: Callable[[PyTree], dict[str, Array]]
    template: PyTree
    layout: PyTree
    seconds: float


def over_runs(
    function: Callable[..., PyTree], *, num_envs: int, num_shared: int = 0, mesh: Mesh | None = None
) -> Callable[..., PyTree]:
    """A function of one run as a function of many, with a leading axis `[run]` on its results and arguments.

    Runs are a `vmap` axis, except where measurement speaks against it: on a CPU, runs of many environments, and those
    of none, which are gradient steps alone, go through the program one after the other (`lax.map`), which is a tenth
    faster and needs less memory. Devices that have whole runs to themselves never wait for each other.

    Args:
        function: of one run.
        num_envs: environments of each run; 0 for a function that learns from a dataset.
        num_shared: how many of the first arguments are the same for all runs, without that axis.
        mesh: devices, with axes `seed`, which the runs are spread over, and `env`; the default is one device.
    """
    # Otherwise the partitioner needs to know that the batch axis which vmap adds is the mesh's seed axis.
    whole_on_a_device = mesh is None or mesh.shape["env"] == 1
    fills_a_cpu = jax.default_backend() == "cpu" and (num_envs >= ENVS_TO_MAP_RUNS or num_envs == 0)

    def of_runs(*arguments: PyTree) -> PyTree:
        of_run, arguments = partial(function, *arguments[:num_shared]), arguments[num_shared:]
        if whole_on_a_device and fills_a_cpu:
            return jax.lax.map(lambda one: of_run(*one), arguments)
        return jax.vmap(of_run, spmd_axis_name=None if whole_on_a_device else "seed")(*arguments)

    def spread(*arguments: PyTree) -> PyTree:
        specs = tuple(P() if i < num_shared else P("seed") for i in range(len(arguments)))
        return jax.shard_map(of_runs, mesh=mesh, in_specs=specs, out_specs=P("seed"), check_vma=False)(*arguments)

    return spread if whole_on_a_device and mesh is not None and mesh.size > 1 else of_runs


def compile_runs(
    build: Build | Callable[[Mapping[str, Array]], Program],
    seeds: np.ndarray,
    hyperparameters: Mapping[str, np.ndarray],
    *,
    updates_per_report: int,
    mesh: Mesh,
    num_envs: int,
) -> CompiledRuns:
    """Compile a batch of runs (as `over_runs` does), one for each element of `seeds`.

    Args:
        build: from values of hyperparameters to a program. The data of a `Build` is an argument of the compiled
            program, whole on every device.
        seeds: integers `[run]`.
        hyperparameters: name -> values `[run]`; arguments of the compiled program, not constants in it, so that other
            values need no new compilation.
        updates_per_report: updates done by one call of `advance`.
        mesh: devices, with axes `seed` and `env`. Of several devices of a CPU, a program that calls LAPACK (as MJX
            does) or the host takes the first alone: their threads would wait for each other.
        num_envs: environments of each run; 0 for runs from a dataset.
    """
    start = time.perf_counter()
    by_run, everywhere = NamedSharding(mesh, P("seed")), NamedSharding(mesh, P())
    make, data = build if isinstance(build, Build) else (lambda values, _: build(values), None)
    layouts = []

    def init(data, settings, seed):
        program = make(settings, data)
        layouts.append(program.layout)
        return program.init(jax.random.key(seed))

    def advance(data, settings, state):
        program = make(settings, data)
        return jax.lax.scan(lambda state, _: program.step(state), state, length=updates_per_report)

    def evaluate(data, settings, state):
        key = jax.random.fold_in(state.key, _EVALUATION_STREAM)
        return make(settings, data).evaluate(state, key)

    def over_all(function):
        # The few environments of an evaluation leave a CPU idle: those of all runs are stepped together.
        at_once = 1 if function is evaluate else num_envs
        return over_runs(function, num_envs=at_once, num_shared=1, mesh=mesh)

    def jit(function, second, *, out_shardings, **options):
        shardings = (everywhere, by_run, second)
        return jax.jit(over_all(function), in_shardings=shardings, out_shardings=out_shardings, **options)

    def place(values, dtype, sharding=by_run):
        values = np.asarray(values, dtype)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    settings = {name: place(values, np.float32) for name, values in hyperparameters.items()}
    placed_seeds = place(seeds, np.int32)
    data = jax.tree.map(lambda x: place(x, x.dtype, everywhere), data)

    with jax.set_mesh(mesh), _partitioner_that_works():
        shapes = jax.eval_shape(over_all(init), data, settings, placed_seeds)
        sharding = state_sharding(mesh, layouts[-1])
        template = _with_sharding(shapes, sharding)
        init_jit = jit(init, by_run, out_shardings=sharding)
        advance_jit = jit(advance, sharding, out_shardings=(sharding, everywhere), donate_argnums=2)
        evaluate_jit = jit(evaluate, sharding, out_shardings=everywhere)
        lowered = [
            init_jit.lower(data, settings, placed_seeds),
            advance_jit.lower(data, settings, template),
            evaluate_jit.lower(data, settings, template),
        ]
    if _may_block(mesh, lowered):
        one = Mesh(mesh.devices[:1, :1], mesh.axis_names)
        return compile_runs(
            build, seeds, hyperparameters, updates_per_report=updates_per_report, mesh=one, num_envs=num_envs
        )
    # The simulator is compiled once to train and once to evaluate; XLA does that outside the interpreter's lock.
    with _partitioner_that_works(), ThreadPoolExecutor(len(lowered)) as pool:
        init_compiled, advance_compiled, evaluate_compiled = pool.map(lambda x: x.compile(), lowered)
    return CompiledRuns(
        init=lambda: init_compiled(data, settings, placed_seeds),
        advance=lambda state: advance_compiled(data, settings, state),
        evaluate=lambda state: evaluate_compiled(data, settings, state),
        template=template,
        layout=layouts[-1],
        seconds=time.perf_counter() - start,
    )


@contextlib.contextmanager
def _partitioner_that_works():
    """Leaves the partitioner Shardy aside in JAX 0.11, where it ends the process on an evaluation of Brax's physics.

    A `while_loop` over a simulator's state, spread over several devices, is a segmentation fault there, not an error.
    """
    option = "jax_use_shardy_partitioner"
    before = getattr(jax.config, option, False)
    if not before or jax.__version_info__[:2] != (0, 11):
        yield
        return
    jax.config.update(option, False)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _may_block(mesh: Mesh, lowered: Sequence[jax.stages.Lowered]) -> bool:
    """Whether programs on several devices of one CPU could wait for each other for ever.

    A batched factorization of LAPACK holds a thread of the pool, which all devices share, while it waits for others: as
    many factorizations as threads, and none goes on. Python, which callbacks run, is for one device at a time.
    """
    if jax.default_backend() != "cpu" or jax.process_count() > 1 or mesh.size == 1:
        return False
    texts = (program.as_text() for program in lowered)
    return any("@lapack_" in text or "python_cpu_callback" in text for text in texts)


def _with_sharding(shapes: PyTree, prefix: PyTree) -> PyTree:
    def annotate(sharding, subtree):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), subtree)

    return jax.tree.map(annotate, prefix, shapes, is_leaf=lambda x: isinstance(x, NamedSharding))


def params_digest(params: PyTree, run: int) -> str:
    """SHA-256 of one run's parameters (host arrays with leading axis `[run]`), leaf by leaf in tree order."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(np.asarray(leaf)[run]).tobytes())
    return digest.hexdigest()
