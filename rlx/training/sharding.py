"""Meshes with the axes `seed` and `env`, and what of a training state lies on which axis."""

from __future__ import annotations

import contextlib
import math
import os

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from rlx.training.program import BY_ENV


def use_cores(num_runs: int) -> None:
    """Make a device of every core of a CPU that runs can be dealt out to evenly; to be called before JAX is used.

    A program of a single device leaves most cores idle most of the time: a simulator's arrays are too small to divide.
    Devices are left as they are where JAX runs already (as in a notebook), on a GPU or TPU, and where the environment
    variables `JAX_NUM_CPU_DEVICES` or `XLA_FLAGS` set their number.

    Args:
        num_runs: seeds times settings.
    """
    flagged = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if flagged or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", largest_divisor(num_runs, cores))


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number up to a limit."""
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)


def make_mesh(num_runs: int, num_envs: int, *, seed: int | None = None, env: int | None = None) -> Mesh:
    """A mesh of the devices (of all processes) with the axes `seed` and `env`.

    Seeds need no communication, so by default as many devices as divide `num_runs` go to the axis `seed` and the
    rest to `env`. Of the devices of a CPU the rest stays idle: to spread the environments of one run makes small arrays
    no faster, and would change its numbers with the number of devices.

    Args:
        num_runs: seeds times settings.
        num_envs: environments of each run.
        seed: devices along `seed`; None chooses.
        env: devices along `env`; None chooses.

    Raises:
        ValueError: the devices cannot be laid out that way, or do not divide the runs or the environments.
    """
    devices = np.array(jax.devices())
    if seed is None and env is None and jax.default_backend() == "cpu" and jax.process_count() == 1:
        seed, env = largest_divisor(num_runs, devices.size), 1
        devices = devices[:seed]
    if seed is None:
        seed = math.gcd(num_runs, devices.size) if env is None else devices.size // env
    env = devices.size // seed if env is None else env
    if seed * env != devices.size:
        raise ValueError(f"a mesh of seed={seed} x env={env} does not use the {devices.size} devices there are")
    for name, axis, count in (("num_runs (seeds x settings)", seed, num_runs), ("num_envs", env, num_envs)):
        if count % axis:
            raise ValueError(f"{name} must be a multiple of the {axis} devices it is spread over, got {count}")
    return Mesh(devices.reshape(seed, env), ("seed", "env"))


def state_sharding(mesh: Mesh, layout: PyTree) -> PyTree:
    """Shardings of a batch of training states (leading axis `[run]`), as a tree prefix.

    Args:
        mesh: with axes `seed` and `env`.
        layout: of a `rlx.training.program.Program`.
    """
    by_run = NamedSharding(mesh, P("seed"))
    by_env = NamedSharding(mesh, P("seed", "env"))
    return jax.tree.map(lambda kind: by_env if kind == BY_ENV else by_run, layout)


def fetch(tree: PyTree) -> PyTree:
    """NumPy copies of arrays that may be spread over processes; every process must call it."""
    if all(leaf.is_fully_addressable for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    mesh = jax.tree.leaves(tree)[0].sharding.mesh
    return jax.device_get(jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P()))(tree))
