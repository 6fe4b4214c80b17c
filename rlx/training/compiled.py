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
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

from rlx.training.program import Program
from rlx.training.sharding import state_sharding

BATCHINGS = ("auto", "map", "vmap")
"""How the runs of a program are put together: one after the other, by `vmap`, or as `resolved_batching` has it."""


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
    """Compiled functions of all runs.

    How the runs' states are held between two calls is their own business: `join` makes one tree of them, with a leading
    axis `[run]`, and `split` the reverse.

    Attributes:
        init: `() -> states`.
        advance: `states -> (states, metrics [run, update])`; donates `states`.
        evaluate: `states -> metrics [run]`.
        join: `states -> state [run]`.
        split: `state [run] -> states`.
        template: shapes, dtypes and shardings of the state `[run]`.
        layout: what the leaves of a run's state are, as of `Program`.
        seconds: time that tracing and compilation took.
    """

    init: Callable[[], PyTree]
    advance: Callable[[PyTree], tuple[PyTree, dict[str, Array]]]
    evaluate: Callable[[PyTree], dict[str, Array]]
    join: Callable[[PyTree], PyTree]
    split: Callable[[PyTree], PyTree]
    template: PyTree
    layout: PyTree
    seconds: float


def resolved_batching(batching: str = "auto") -> str:
    """`"map"` or `"vmap"`: `"auto"` is `"map"` on a CPU, which keeps a run's numbers, and `"vmap"` elsewhere.

    Raises:
        ValueError: none of `BATCHINGS`.
    """
    if batching not in BATCHINGS:
        raise ValueError(f"batching must be one of {', '.join(BATCHINGS)}, got {batching!r}")
    if batching == "auto":
        return "map" if jax.default_backend() == "cpu" else "vmap"
    return batching


def over_runs(
    function: Callable[..., PyTree],
    *,
    batching: str = "auto",
    num_shared: int = 0,
    mesh: Mesh | None = None,
) -> Callable[..., PyTree]:
    """A function of one run as a function of many, with a leading axis `[run]` on its results and arguments.

    With `map`, every device takes its runs one after the other. With `vmap` they are an axis of all arrays, whose
    size decides how the compiler groups and rounds operations. Environments of one run that lie on several devices
    always mean `vmap`. Devices that have whole runs to themselves never wait for each other.

    Args:
        function: of one run.
        batching: one of `BATCHINGS`.
        num_shared: how many of the first arguments are the same for all runs, without that axis.
        mesh: devices, with axes `seed`, which the runs are spread over, and `env`; the default is one device.
    """
    # Otherwise the partitioner needs to know that the batch axis which vmap adds is the mesh's seed axis.
    whole_on_a_device = mesh is None or mesh.shape["env"] == 1
    mapped = whole_on_a_device and resolved_batching(batching) == "map"

    def of_runs(*arguments: PyTree) -> PyTree:
        of_run, arguments = partial(function, *arguments[:num_shared]), arguments[num_shared:]
        if mapped:
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
    batching: str = "auto",
) -> CompiledRuns:
    """Compile a batch of runs, one for each element of `seeds`.

    On a CPU, where `batching` is `map`, this is the program of a single run, called for one run after the other, as
    many at a time as the mesh has devices. So a run's numbers do not depend on its company: they come from the same
    compiled program, however many runs and devices there are. Everywhere else, also where several processes train
    together, the program is of all runs, as `over_runs` has it.

    Args:
        build: from values of hyperparameters to a program. The data of a `Build` is an argument of the compiled
            program, whole on every device.
        seeds: integers `[run]`.
        hyperparameters: name -> values `[run]`; arguments of the compiled program, not constants in it, so that other
            values need no new compilation.
        updates_per_report: updates done by one call of `advance`.
        mesh: devices, with axes `seed` and `env`. Of several devices of a CPU, a program that calls LAPACK (as MJX
            does) or the host takes the first alone: their threads would wait for each other.
        batching: one of `BATCHINGS`. Programs that call the host step the environments of all runs in one call, and so
            are batched by `vmap`.

    Raises:
        ValueError: an unknown batching, or `map` for a program that calls the host.
    """
    start = time.perf_counter()
    one_cpu = jax.default_backend() == "cpu" and jax.process_count() == 1
    apart = one_cpu and mesh.shape["env"] == 1 and resolved_batching(batching) == "map"
    at_once, mesh = mesh.size, _first(mesh) if apart else mesh
    by_run, everywhere = NamedSharding(mesh, P("seed")), NamedSharding(mesh, P())
    of_one = everywhere if apart else by_run
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
        return function if apart else over_runs(function, batching=batching, num_shared=1, mesh=mesh)

    def jit(function, last, *, out_shardings, **options):
        shardings = (everywhere, of_one, last)
        return jax.jit(over_all(function), in_shardings=shardings, out_shardings=out_shardings, **options)

    def place(values, dtype, sharding=of_one):
        values = np.asarray(values, dtype)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    data = jax.tree.map(lambda x: place(x, x.dtype, everywhere), data)
    # What each call of a compiled program takes: one run, or all.
    indices = range(len(seeds)) if apart else [slice(None)]
    settings = [{name: place(np.asarray(x)[i], np.float32) for name, x in hyperparameters.items()} for i in indices]
    placed_seeds = [place(seeds[i], np.int32) for i in indices]

    with jax.set_mesh(mesh), _partitioner_that_works():
        shapes = jax.eval_shape(over_all(init), data, settings[0], placed_seeds[0])
        sharding = everywhere if apart else state_sharding(mesh, layouts[-1])
        of_call = _with_sharding(shapes, sharding)
        init_jit = jit(init, of_one, out_shardings=sharding)
        advance_jit = jit(advance, sharding, out_shardings=(sharding, everywhere), donate_argnums=2)
        evaluate_jit = jit(evaluate, sharding, out_shardings=everywhere)
        lowered = [
            init_jit.lower(data, settings[0], placed_seeds[0]),
            advance_jit.lower(data, settings[0], of_call),
            evaluate_jit.lower(data, settings[0], of_call),
        ]
    asks_the_host, factorizes = _calls(lowered)
    if asks_the_host and batching == "map":
        raise ValueError("batching must be auto or vmap for a program that calls the host, got 'map'")
    if apart and factorizes:
        at_once = 1
    may_block = one_cpu and mesh.size > 1 and (asks_the_host or factorizes)
    if may_block or (apart and asks_the_host):
        return compile_runs(
            build,
            seeds,
            hyperparameters,
            updates_per_report=updates_per_report,
            mesh=_first(mesh),
            batching="vmap" if asks_the_host else batching,
        )
    # The simulator is compiled once to train and once to evaluate; XLA does that outside the interpreter's lock.
    with _partitioner_that_works(), ThreadPoolExecutor(len(lowered)) as pool:
        init_compiled, advance_compiled, evaluate_compiled = pool.map(lambda x: x.compile(), lowered)

    def each(function, arguments):
        """The results of all runs, apart; no more of them are computed at a time than there are devices."""
        call = lambda settings, argument: jax.block_until_ready(function(data, settings, argument))
        with ThreadPoolExecutor(at_once) as pool:
            return tuple(pool.map(call, settings, arguments))

    join = jax.jit(lambda runs: jax.tree.map(lambda *x: jnp.stack(x), *runs))
    split = jax.jit(lambda state: tuple(jax.tree.map(lambda x: x[i], state) for i in range(len(seeds))))

    def advance_each(states):
        states, metrics = zip(*each(advance_compiled, states))
        return states, join(metrics)

    if apart:
        whole = lambda x: jax.ShapeDtypeStruct((len(seeds), *x.shape), x.dtype, sharding=by_run)
        return CompiledRuns(
            init=lambda: each(init_compiled, placed_seeds),
            advance=advance_each,
            evaluate=lambda states: join(each(evaluate_compiled, states)),
            join=join,
            split=split,
            template=jax.tree.map(whole, shapes),
            layout=layouts[-1],
            seconds=time.perf_counter() - start,
        )
    return CompiledRuns(
        init=lambda: init_compiled(data, *settings, *placed_seeds),
        advance=lambda state: advance_compiled(data, *settings, state),
        evaluate=lambda state: evaluate_compiled(data, *settings, state),
        join=lambda state: state,
        split=lambda state: state,
        template=of_call,
        layout=layouts[-1],
        seconds=time.perf_counter() - start,
    )


def _first(mesh: Mesh) -> Mesh:
    """The mesh of the first device alone."""
    return Mesh(mesh.devices[:1, :1], mesh.axis_names)


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


def _calls(lowered: Sequence[jax.stages.Lowered]) -> tuple[bool, bool]:
    """Whether programs for a CPU call Python on the host, and whether they call LAPACK.

    Several of either at a time could wait for each other for ever: a batched factorization of LAPACK holds a thread of
    the pool, which all share, while it waits for others, and Python, which callbacks run, is for one at a time.
    """
    texts = [program.as_text() for program in lowered]
    return tuple(any(name in text for text in texts) for name in ("python_cpu_callback", "@lapack_"))


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
