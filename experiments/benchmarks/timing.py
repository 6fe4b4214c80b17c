"""What all benchmarks share: alternating measurements, settings of the comparison, tables, result files."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from rlx.recipes.ppo import Config
from rlx.training.compiled import compile_runs
from rlx.training.provenance import installed_versions

RESULTS = Path(__file__).parent / "results"

SETTINGS = {
    "inverted_pendulum": Config(
        env="brax:inverted_pendulum",
        backend="spring",
        num_envs=512,
        unroll_length=32,
        hidden_sizes=(256, 256),
    ),
    "ant": Config(env="brax:ant", backend="mjx", num_envs=256, unroll_length=16, hidden_sizes=(256, 256)),
}
"""The two comparisons that the project's speed targets name: light physics, where learning is nearly everything,
and heavy physics. 4 epochs, 8 minibatches and tanh are the config's defaults."""


def tiny(config: Config) -> Config:
    """The same benchmark at a size that only shows that it runs."""
    return dataclasses.replace(config, num_envs=8, unroll_length=4, num_minibatches=2, hidden_sizes=(8, 8))


def compiled(function: Callable, *arguments: Any) -> Callable[[], Any]:
    """`function` compiled for its arguments, as a call without arguments that ends when the result is there."""
    executable = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(executable(*arguments))


def update_of_runs(build: Callable, seeds: int, *, devices: int = 1, batching: str = "auto") -> Callable[[], Any]:
    """One update of several seeds, compiled as `rlx train` does it, as a call without arguments.

    Each call goes on from the state that the last one left, since the compiled program reuses its memory.

    Args:
        build: as of `rlx.training.compiled.compile_runs`.
        seeds: how many.
        devices: that the seeds are dealt out to, the first ones.
        batching: `"vmap"` for one program of all seeds; the default on a CPU is the program of one seed, called for one
            seed after the other on each device.
    """
    mesh = Mesh(np.array(jax.devices()[:devices]).reshape(devices, 1), ("seed", "env"))
    runs = compile_runs(build, np.arange(seeds), {}, updates_per_report=1, mesh=mesh, batching=batching)
    state = runs.init()

    def update():
        nonlocal state
        state, metrics = runs.advance(state)
        return jax.block_until_ready((state, metrics))

    return update


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternate(functions: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, list[float]]:
    """Time functions in turn: A B A B …, after one untimed call of each.

    Neighbors in time meet the same load of the machine, so that `median_ratio` compares like with like.

    Args:
        functions: name -> a blocking call without arguments.
        repetitions: timed calls of each.

    Returns:
        Name -> seconds `[repetitions]`.
    """
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median of the ratios pair by pair."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def settings_of(config: Config) -> dict[str, Any]:
    """What bears on speed in a config, for the result file."""
    names = (
        "env",
        "backend",
        "num_envs",
        "unroll_length",
        "num_minibatches",
        "update_epochs",
        "hidden_sizes",
    )
    return {name: getattr(config, name) for name in names} | {"activation": config.activation}


def device_name() -> str:
    """The device's name as a part of a file name: `cpu-2-cores`, `nvidia-h100-80gb-hbm3`."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu-{len(os.sched_getaffinity(0))}-cores"
    return re.sub(r"[^a-z0-9]+", "-", device.device_kind.lower()).strip("-")


def processor() -> str:
    """The host processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor()


def load(name: str, directory: Path = RESULTS) -> dict[str, Any]:
    """A benchmark's record on this device; empty where there is none."""
    path = directory / f"{name}-{device_name()}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def save(name: str, record: Mapping[str, Any], directory: Path = RESULTS) -> Path:
    """Write a benchmark's record with what it was measured on to `<name>-<device>.json`."""
    path = directory / f"{name}-{device_name()}.json"
    machine = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "versions": installed_versions(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "machine": machine} | dict(record), indent=1) + "\n")
    return path


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=max(console.width, 110)).print(table)
