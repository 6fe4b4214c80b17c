"""Returns where one observation is not enough: recurrent PPO beside PPO on single and on stacked observations.

- A bit shown in the first two observations of an episode is asked for at its end (`gymnax:MemoryChain-bsuite`): chance
  is a return of 0, the best is 1. Four stacked observations do not reach back that far.
- A pendulum that shows its angle alone must swing up (`rlx:pendulum_without_velocity`): its speed follows from two
  observations in a row. With the speed in sight, PPO reaches about -167.

All methods get the same steps, layers and minibatches, and a learning rate of their own, tuned on the same grid with
seeds that are not reported, the grid widened where its best value lies at the edge. Returns are those of the
deterministic policy after training.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from rlx import envs, recipes
from rlx.training.program import make_train
from rlx.training.statistics import bootstrap_interval, interquartile_mean

SEEDS, TUNING_SEEDS = tuple(range(8)), (100, 101)
GRID = range(4)
"""Half decades above 1e-3 that learning rates are tuned on, before the grid is widened."""
WIDER = 3
"""How often a grid may be widened, each time by as many rates as it began with."""
STACKED = 4

COMMON = dict(hidden_sizes=(32,), num_minibatches=4, learning_rate_schedule="linear", eval_episodes=64)
TASKS: dict[str, dict[str, Any]] = {
    "memory_chain": dict(
        env="gymnax:MemoryChain-bsuite",
        options=dict(memory_length=10, max_episode_steps=20),
        config=dict(
            total_steps=40_960, num_envs=32, unroll_length=32, update_epochs=4, entropy_coefficient=0.01, discount=0.99
        ),
    ),
    "pendulum_without_velocity": dict(
        env="rlx:pendulum_without_velocity",
        options={},
        config=dict(
            total_steps=81_920,
            num_envs=32,
            unroll_length=64,
            update_epochs=8,
            discount=0.95,
            normalize_reward=True,
            distribution="tanh",
        ),
    ),
}
_PARTS = ("observation",)
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", {}),
    "ppo_stacked": ("ppo", dict(policy_sees=_PARTS, critic_sees=_PARTS)),
    "recurrent_ppo_gru": ("recurrent_ppo", dict(cell="gru", memory_size=32)),
    "recurrent_ppo_ssm": ("recurrent_ppo", dict(cell="ssm", memory_size=32)),
}
TINY = dict(total_steps=1, num_envs=4, unroll_length=4, update_epochs=1, eval_episodes=2, max_eval_steps=8)


def make_runs(task: str, method: str, *, quick: bool = False) -> Callable[[Sequence[int], Sequence[float]], Any]:
    """`(seeds, learning rates) -> (returns, returns of the exploring policy, seconds)`, one entry a run; compiled once
    for each number of runs."""
    algorithm, options = METHODS[method]
    recipe = recipes.recipe(algorithm)
    environment = envs.make(TASKS[task]["env"], **TASKS[task]["options"])
    if method == "ppo_stacked":
        environment = envs.with_history(environment, STACKED)
    config = recipe.config(
        **(dict(env=TASKS[task]["env"]) | COMMON | TASKS[task]["config"] | options | (TINY if quick else {}))
    )

    def run(seed: jax.Array, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        changed = dataclasses.replace(config, learning_rate=rate)
        program = recipes.make_program(recipe, changed, environment=environment)
        train_key, key = jax.random.split(jax.random.key(seed))
        state, _ = make_train(program, config.num_updates)(train_key)
        metrics = program.evaluate(state, key)
        return metrics["eval_return_mean"], metrics["eval_stochastic_return_mean"]

    compiled = jax.jit(jax.vmap(run))

    def runs(seeds: Sequence[int], rates: Sequence[float]) -> tuple[np.ndarray, np.ndarray, float]:
        begun = time.perf_counter()
        mode, sampled = jax.block_until_ready(compiled(jnp.array(seeds), jnp.array(rates)))
        return np.asarray(mode, np.float64), np.asarray(sampled, np.float64), time.perf_counter() - begun

    return runs


def tune(runs: Callable, widen: int = WIDER) -> dict[float, list[float]]:
    """Learning rate -> returns of the tuning seeds, on a grid with its best value inside, if widening finds one."""
    results: dict[float, list[float]] = {}
    low, high = GRID.start, GRID.stop
    steps = GRID
    for left in range(widen, -1, -1):
        rates = [float(f"{1e-3 * 10 ** (step / 2):.2g}") for step in steps]
        returns, _, _ = runs(TUNING_SEEDS * len(rates), np.repeat(rates, len(TUNING_SEEDS)))
        results |= dict(zip(rates, returns.reshape(len(rates), -1).tolist(), strict=True))
        chosen = best(results)
        if min(results) < chosen < max(results) or not left:
            break
        steps = range(low - len(GRID), low) if chosen == min(results) else range(high, high + len(GRID))
        low, high = min(low, steps.start), max(high, steps.stop)
    return dict(sorted(results.items()))


def best(results: dict[float, list[float]]) -> float:
    """The rate of the highest mean return; of equally good ones, the one in their middle."""
    # Where a run diverged there is no return.
    means = {rate: np.nan_to_num(np.mean(returns), nan=-np.inf) for rate, returns in sorted(results.items())}
    top = [rate for rate, mean in means.items() if mean == max(means.values())]
    return top[len(top) // 2]


def measure(task: str, method: str, *, quick: bool = False) -> dict[str, Any]:
    """Returns of one method in one task, at its best learning rate."""
    runs = make_runs(task, method, quick=quick)
    tuning = tune(runs, widen=0 if quick else WIDER)
    rate = best(tuning)
    returns, sampled, seconds = runs(SEEDS, [rate] * len(SEEDS))
    low, high = bootstrap_interval(returns)
    return {
        "learning_rate": rate,
        "best_inside_grid": min(tuning) < rate < max(tuning),
        "tuning": {str(rate): values for rate, values in tuning.items()},
        "returns": returns.tolist(),
        "returns_exploring": sampled.tolist(),
        "interquartile_mean": float(interquartile_mean(returns)),
        "interval": [float(low), float(high)],
        "seconds": seconds,
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table and write the record."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny runs that only show that it works; no record")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="the default is all")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="the default is all")
    options = parser.parse_args(arguments)
    begun = time.process_time()
    results = {
        task: {method: measure(task, method, quick=options.quick) for method in options.methods}
        for task in options.tasks
    }
    record = {
        "settings": {
            "tasks": TASKS,
            "common": COMMON,
            "methods": {name: {"algorithm": algorithm} | own for name, (algorithm, own) in METHODS.items()},
            "stacked": STACKED,
            "seeds": SEEDS,
            "tuning_seeds": TUNING_SEEDS,
        },
        "cpu_seconds": time.process_time() - begun,
        "results": results,
    }
    rows = [
        [
            f"{method} in {task}",
            f"{result['interquartile_mean']:.2f}",
            "{:.2f} to {:.2f}".format(*result["interval"]),
            f"{min(result['returns']):.2f}",
            f"{result['learning_rate']:g}",
        ]
        for task, methods in results.items()
        for method, result in methods.items()
    ]
    timing.show(
        f"Returns of {len(SEEDS)} seeds", ["", "interquartile mean", "95 % interval", "worst", "learning rate"], rows
    )
    if not options.quick and (options.tasks, options.methods) == (list(TASKS), list(METHODS)):
        timing.save("memory", record)
    return record
