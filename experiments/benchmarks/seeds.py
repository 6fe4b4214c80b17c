"""What seeds and environments cost: one update of 1 to 64 seeds, and of 64 to 16384 environments.

Seeds are trained in two ways, compared with each other and with one seed in the same minutes. In one program
(`--batching vmap`) they are an axis of all arrays, on one device. As `rlx train` has it on a CPU, the program of one
seed is called for one seed after the other, as many at a time as there are devices
(`rlx.training.sharding.use_cores` makes one of each core), which keeps a seed's numbers independent of its company.
What that costs depends on how much work a seed has for a core: a second table has it for 8 to 256 environments of
light physics.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.benchmarks import timing
from rlx.recipes import make_program
from rlx.recipes import ppo as wiring
from rlx.recipes.ppo import Config
from rlx.training.sharding import use_cores

HIDDEN_SIZES = {"64x64": (64, 64), "256x256": (256, 256)}
"""Networks; the larger one takes most of an hour on two cores."""
SEEDS = (1, 2, 4, 8, 16, 32, 64)
ENVIRONMENTS = (64, 256, 1024, 4096, 16384)
SMALL = Config(env="rlx:pendulum", unroll_length=32, hidden_sizes=(64, 64))
SMALL_SEEDS, SMALL_ENVIRONMENTS = (2, 8), (8, 64, 256)
SMALL_REPETITIONS = 21


def update_of_seeds(config: Config, seeds: int, **options: Any) -> Callable[[], Any]:
    """One update of `seeds` runs; the options are those of `timing.update_of_runs`."""
    return timing.update_of_runs(lambda _: make_program(wiring.RECIPE, config), seeds, **options)


def cost_of_seeds(config: Config, counts: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    """Seconds of one update for each count of seeds: one seed, all in one program, and as they are trained."""
    single = update_of_seeds(config, 1)
    rows = []
    for seeds in counts:
        devices = min(seeds, jax.device_count())
        times = timing.alternate(
            {
                "one": single,
                "one_program": update_of_seeds(config, seeds, batching="vmap"),
                "as_trained": update_of_seeds(config, seeds, devices=devices),
            },
            repetitions,
        )
        rows.append(
            {
                "num_envs": config.num_envs,
                "seeds": seeds,
                "devices": devices,
                "cost_in_one_program": timing.median_ratio(times["one_program"], times["one"]),
                "cost_as_trained": timing.median_ratio(times["as_trained"], times["one"]),
                "one_program_over_as_trained": timing.median_ratio(times["one_program"], times["as_trained"]),
                "steps_per_second": seeds * config.steps_per_update / statistics.median(times["as_trained"]),
                "seconds": times,
            }
        )
    return rows


def cost_of_environments(config: Config, counts: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    """Seconds of one update of one seed for each number of environments, alternating over the numbers."""
    configs = {count: dataclasses.replace(config, num_envs=count) for count in counts}
    times = timing.alternate({str(n): update_of_seeds(c, 1) for n, c in configs.items()}, repetitions)
    return [
        {
            "num_envs": count,
            "steps_per_second": configs[count].steps_per_update / statistics.median(times[str(count)]),
            "seconds": times[str(count)],
        }
        for count in counts
    ]


def costs(row: dict[str, Any]) -> list[str]:
    """The cells of a row of `cost_of_seeds`."""
    names = ("cost_in_one_program", "cost_as_trained", "one_program_over_as_trained")
    return [*(f"{row[name]:.2f}" for name in names), f"{row['steps_per_second']:,.0f}"]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=list(HIDDEN_SIZES), default=["64x64"])
    parser.add_argument("--max-seeds", type=int, default=max(SEEDS))
    parser.add_argument("--max-envs", type=int, default=max(ENVIRONMENTS))
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    use_cores(max(SEEDS))
    repetitions = 1 if options.quick else options.repetitions
    results = {}
    for network in options.networks[:1] if options.quick else options.networks:
        config = timing.SETTINGS["inverted_pendulum"]
        config = (
            timing.tiny(config) if options.quick else dataclasses.replace(config, hidden_sizes=HIDDEN_SIZES[network])
        )
        seeds = (2,) if options.quick else [n for n in SEEDS if n <= options.max_seeds]
        environments = (8,) if options.quick else [n for n in ENVIRONMENTS if n <= options.max_envs]
        results[network] = {
            "settings": timing.settings_of(config),
            "seeds": cost_of_seeds(config, seeds, repetitions),
            "environments": cost_of_environments(config, environments, repetitions),
        }
    of_small = {} if options.quick else {n: dataclasses.replace(SMALL, num_envs=n) for n in SMALL_ENVIRONMENTS}
    small = [row for config in of_small.values() for row in cost_of_seeds(config, SMALL_SEEDS, SMALL_REPETITIONS)]
    columns = ("seeds", "one program / one seed", "as trained / one seed", "one program / as trained", "steps/s")
    for name, result in results.items():
        timing.show(f"Seeds, networks {name}", columns, [(str(row["seeds"]), *costs(row)) for row in result["seeds"]])
        timing.show(
            f"Environments of one seed, networks {name}",
            ("environments", "steps/s"),
            [(str(row["num_envs"]), f"{row['steps_per_second']:,.0f}") for row in result["environments"]],
        )
    rows = [(f"{row['seeds']} seeds of {row['num_envs']} environments", *costs(row)) for row in small]
    timing.show(f"Small runs of {SMALL.env}", columns, rows)
    record = {"results": results, "small": {"settings": timing.settings_of(SMALL), "seeds": small}}
    if not options.quick:
        print(f"written: {timing.save('seeds', record).name}")
    return record


if __name__ == "__main__":
    main()
