"""What seeds and environments cost: one update of 1 to 64 seeds in one program, and of 64 to 16384 environments.

Seeds are an axis of the program, batched as the trainer does it (`rlx.training.compiled.over_runs`), on one device and,
where they can be dealt out evenly, on those that `rlx.training.sharding.use_cores` makes of a CPU's cores, as
`rlx train` has it. Their cost is compared, in the same minutes, with one seed's program and with the runs one after the
other, which is one seed's program called once per seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.benchmarks import timing
from rlx.recipes import make_program
from rlx.recipes import ppo as wiring
from rlx.recipes.ppo import Config
from rlx.training.compiled import over_runs
from rlx.training.sharding import use_cores

HIDDEN_SIZES = {"64x64": (64, 64), "256x256": (256, 256)}
SEEDS = (1, 2, 4, 8, 16, 32, 64)
LONGEST_SEQUENCE = 8
"""Beyond this many seeds the time of the runs one after the other is that of one seed, multiplied."""
ENVIRONMENTS = (64, 256, 1024, 4096, 16384)


def batched_update(config: Config, seeds: int, devices: int = 1) -> Callable[[], Any]:
    """One update of `seeds` runs in one compiled program."""
    program = make_program(wiring.RECIPE, config)
    mesh = Mesh(np.array(jax.devices()[:devices]).reshape(devices, 1), ("seed", "env"))
    states = jax.jit(jax.vmap(program.init))(jax.random.split(jax.random.key(0), seeds))
    states = jax.device_put(states, NamedSharding(mesh, P("seed")))
    return timing.compiled(over_runs(program.step, mesh=mesh), states)


def single_update(config: Config) -> Callable[[], Any]:
    """One update of one run, without the seed axis."""
    program = make_program(wiring.RECIPE, config)
    return timing.compiled(program.step, jax.jit(program.init)(jax.random.key(0)))


def cost_of_seeds(config: Config, counts: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    """Seconds of one update for each count of seeds, beside one seed and the same seeds one after the other."""
    single = single_update(config)
    rows = []
    for seeds in counts:
        together = batched_update(config, seeds)

        def one_after_the_other(seeds=seeds):
            for _ in range(seeds):
                single()

        cases = {"one": single, "together": together}
        if (devices := jax.device_count()) > 1 and seeds % devices == 0:
            cases["over_devices"] = batched_update(config, seeds, devices)
        if seeds <= LONGEST_SEQUENCE:
            cases["one_after_the_other"] = one_after_the_other
        times = timing.alternate(cases, repetitions)
        sequence = times.get("one_after_the_other", [seeds * one for one in times["one"]])
        rows.append(
            {
                "seeds": seeds,
                "cost_in_seeds": timing.median_ratio(times["together"], times["one"]),
                "cost_of_sequence": timing.median_ratio(sequence, times["together"]),
                "over_devices": {
                    "devices": devices,
                    "cost_in_seeds": timing.median_ratio(times["over_devices"], times["one"]),
                    "speedup": timing.median_ratio(times["together"], times["over_devices"]),
                }
                if "over_devices" in times
                else None,
                "steps_per_second": seeds * config.steps_per_update / statistics.median(times["together"]),
                "seconds": times,
            }
        )
    return rows


def cost_of_environments(config: Config, counts: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    """Seconds of one update of one seed for each number of environments, alternating over the numbers."""
    configs = {count: dataclasses.replace(config, num_envs=count) for count in counts}
    times = timing.alternate({str(n): single_update(c) for n, c in configs.items()}, repetitions)
    return [
        {
            "num_envs": count,
            "steps_per_second": configs[count].steps_per_update / statistics.median(times[str(count)]),
            "seconds": times[str(count)],
        }
        for count in counts
    ]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=list(HIDDEN_SIZES), default=list(HIDDEN_SIZES))
    parser.add_argument("--max-seeds", type=int, default=max(SEEDS))
    parser.add_argument("--max-envs", type=int, default=max(ENVIRONMENTS))
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    use_cores(max(SEEDS))
    results = {}
    for network in options.networks[:1] if options.quick else options.networks:
        config = timing.SETTINGS["inverted_pendulum"]
        config = (
            timing.tiny(config) if options.quick else dataclasses.replace(config, hidden_sizes=HIDDEN_SIZES[network])
        )
        seeds = (2,) if options.quick else [n for n in SEEDS if n <= options.max_seeds]
        environments = (8,) if options.quick else [n for n in ENVIRONMENTS if n <= options.max_envs]
        repetitions = 1 if options.quick else options.repetitions
        results[network] = {
            "settings": timing.settings_of(config),
            "seeds": cost_of_seeds(config, seeds, repetitions),
            "environments": cost_of_environments(config, environments, repetitions),
        }
    for name, result in results.items():
        timing.show(
            f"Seeds in one program, networks {name}",
            ("seeds", "cost / one seed", "over cores", "one after the other / together", "steps/s"),
            [
                (
                    str(row["seeds"]),
                    f"{row['cost_in_seeds']:.2f}",
                    f"{row['over_devices']['cost_in_seeds']:.2f}" if row["over_devices"] else "",
                    f"{row['cost_of_sequence']:.2f}",
                    f"{row['steps_per_second']:,.0f}",
                )
                for row in result["seeds"]
            ],
        )
        timing.show(
            f"Environments of one seed, networks {name}",
            ("environments", "steps/s"),
            [(str(row["num_envs"]), f"{row['steps_per_second']:,.0f}") for row in result["environments"]],
        )
    record = {"results": results}
    if not options.quick:
        print(f"written: {timing.save('seeds', record).name}")
    return record


if __name__ == "__main__":
    main()
