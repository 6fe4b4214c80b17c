"""Time from starting Python to the first finished update, with a cold and with a warm compilation cache.

Each measurement is a process of its own, so that imports count; the cold one has an empty cache folder, the warm ones
the folder that it leaves behind.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def first_update(task: str, quick: bool) -> dict[str, float]:
    """Seconds of imports, of initialization and of the first update; what the child process runs."""
    start = time.perf_counter()
    import jax

    from experiments.benchmarks import timing
    from rlx.recipes import make_program
    from rlx.recipes import ppo as wiring

    config = timing.SETTINGS[task]
    program = make_program(wiring.RECIPE, timing.tiny(config) if quick else config)
    imported = time.perf_counter()
    state = jax.block_until_ready(jax.jit(program.init)(jax.random.key(0)))
    initialized = time.perf_counter()
    jax.block_until_ready(jax.jit(program.step)(state))
    updated = time.perf_counter()
    return {"imports": imported - start, "init": initialized - imported, "update": updated - initialized}


def run_child(task: str, cache: Path, quick: bool) -> dict[str, float]:
    """Seconds of a fresh process, in all and by stage.

    Raises:
        RuntimeError: if the process fails, with the end of what it said.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    call = (
        "import json; from experiments.benchmarks.startup import first_update; "
        f"print(json.dumps(first_update({task!r}, {quick})))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", call], env=environment, capture_output=True, text=True)
    total = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the process that times the first update of {task} failed: {done.stderr[-500:]}")
    return {"total": total} | json.loads(done.stdout.splitlines()[-1])


def measure(task: str, repetitions: int, quick: bool) -> dict[str, list[dict[str, float]]]:
    """Seconds of cold starts and of warm starts, in turn."""
    runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as cache:
            for name in runs:
                runs[name].append(run_child(task, Path(cache), quick))
    return runs


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    import statistics

    from experiments.benchmarks import timing

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(timing.SETTINGS), default=list(timing.SETTINGS))
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    tasks, repetitions = (options.tasks[:1], 1) if options.quick else (options.tasks, options.repetitions)
    results = {task: measure(task, repetitions, options.quick) for task in tasks}
    stages = ("imports", "init", "update", "total")
    timing.show(
        "Seconds to the first finished update",
        ("task", "cache", *stages),
        [
            (task, cache, *(f"{statistics.median(run[stage] for run in runs):.1f}" for stage in stages))
            for task, result in results.items()
            for cache, runs in result.items()
        ],
    )
    record = {"results": results}
    if not options.quick:
        print(f"written: {timing.save('startup', record).name}")
    return record


if __name__ == "__main__":
    main()
