"""Training steps/s on an accelerator: 4096 environments with 1 and 32 seeds, and the most environments that fit.

Runs on a CPU too, where only `--quick` is of a sensible size.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import jax

from experiments.benchmarks import seeds, timing
from rlx.recipes.ppo import Config

TASKS = {
    "brax:ant": Config(env="brax:ant", backend="mjx", num_envs=4096, unroll_length=16, num_minibatches=32),
    "playground:CheetahRun": Config(env="playground:CheetahRun", num_envs=4096, unroll_length=16, num_minibatches=32),
}
LIGHT = Config(env="brax:inverted_pendulum", backend="spring", unroll_length=8, num_minibatches=32, update_epochs=1)
SEEDS = (1, 32)
MOST_ENVIRONMENTS = 1 << 20


def steps_per_second(config: Config, num_seeds: int, repetitions: int) -> dict[str, Any]:
    """Training speed of `num_seeds` seeds in one program; `error` instead where they do not fit."""
    row: dict[str, Any] = {"env": config.env, "num_envs": config.num_envs, "seeds": num_seeds}
    try:
        times = timing.alternate({"update": seeds.update_of_seeds(config, num_seeds)}, repetitions)["update"]
    except jax.errors.JaxRuntimeError as error:
        return row | {"error": out_of_memory(error)}
    speed = num_seeds * config.steps_per_update / statistics.median(times)
    return row | {"steps_per_second": speed, "seconds": times}


def most_environments(config: Config, start: int, stop: int, repetitions: int) -> list[dict[str, Any]]:
    """Training speed while the number of environments doubles, up to `stop` or to the first that does not fit."""
    rows = []
    count = start
    while count <= stop:
        rows.append(steps_per_second(dataclasses.replace(config, num_envs=count), 1, repetitions))
        if "error" in rows[-1]:
            break
        count *= 2
    return rows


def out_of_memory(error: Exception) -> str:
    """The first line of an out-of-memory error.

    Raises:
        Exception: the error itself, if it is another one.
    """
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    return str(error).splitlines()[0][:200]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    if options.quick:
        tasks, counts = [timing.tiny(LIGHT)], (2,)
        light, start, stop, repetitions = timing.tiny(LIGHT), 8, 8, 1
    else:
        tasks, counts = list(TASKS.values()), SEEDS
        light, start, stop, repetitions = LIGHT, 4096, MOST_ENVIRONMENTS, options.repetitions
    training = [steps_per_second(config, n, repetitions) for config in tasks for n in counts]
    growth = most_environments(light, start, stop, repetitions)
    for title, rows in (("Training", training), (f"The most environments of {light.env}", growth)):
        timing.show(
            title,
            ("task", "environments", "seeds", "steps/s"),
            [
                (
                    row["env"],
                    f"{row['num_envs']:,}",
                    str(row["seeds"]),
                    f"{row['steps_per_second']:,.0f}" if "error" not in row else "out of memory",
                )
                for row in rows
            ],
        )
    fitting = [row["num_envs"] for row in growth if "error" not in row]
    record = {
        "training": training,
        "environments": growth,
        "most_environments": max(fitting, default=0),
        "settings": {config.env: timing.settings_of(config) for config in (*tasks, light)},
    }
    if not options.quick:
        print(f"written: {timing.save('gpu', record).name}")
    return record


if __name__ == "__main__":
    main()
