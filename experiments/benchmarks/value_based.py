"""Returns of DQN and PQN on gymnax tasks, and of PQN beside its authors' code at equal environment steps.

- `cartpole_dqn`, `cartpole_pqn`: the presets of `gymnax:CartPole-v1`. The task counts as solved where the interquartile
  mean over seeds of the deterministic policy's return is at least 475 of 500.
- `breakout_pqn`: the preset of `gymnax:Breakout-MinAtar`, shortened from ten million steps to two, which take two
  cores about three quarters of an hour; its schedules end with the run. It tells whether both codes learn alike, not
  how far PQN gets.
- `breakout_purejaxql`: `purejaxql/pqn_minatar.py` of github.com/mttga/purejaxql at 47af6d7, unchanged, with the same
  settings. `--purejaxql` names a folder with that repository; nothing of it is kept here. It was written for gymnax
  before 1.0, whose `step` gave one flag for both ends of an episode: this benchmark gives it such an environment, and
  empty modules in place of hydra, omegaconf and wandb, which training does not use. Its own evaluations are off.

Curves are returns of the latest finished episodes of the exploring policy. At the end the deterministic policy of every
seed is evaluated by the same function, in the same environment, from the same first states. What `breakout_pqn` and
`breakout_purejaxql` still differ in is their own: weights of dense layers at the start (orthogonal here, normal of the
same variance there), time limits (which end the return there, and are bootstrapped here), and random numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from rlx import recipes
from rlx.algorithms import Learner
from rlx.algorithms.dqn import epsilon_greedy
from rlx.recipes import acting, pqn
from rlx.training import evaluation
from rlx.training.program import make_train
from rlx.training.statistics import aggregate

SOLVED = 475.0
"""Return of CartPole-v1 at which Gymnasium calls it solved."""
COMMIT = "47af6d7"
POINTS = 50
"""Points of a recorded curve."""


def configs(frames: int) -> dict[str, tuple[str, Any]]:
    """Trainer -> algorithm and config."""
    cartpole = dict(env="gymnax:CartPole-v1", eval_episodes=128)
    breakout = dict(env="gymnax:Breakout-MinAtar", eval_episodes=128, total_steps=frames)
    return {
        "cartpole_dqn": ("dqn", recipes.recipe("dqn").configure(**cartpole)),
        "cartpole_pqn": ("pqn", recipes.recipe("pqn").configure(**cartpole)),
        "breakout_pqn": ("pqn", recipes.recipe("pqn").configure(**breakout)),
    }


def evaluation_key(seed: int | jax.Array) -> jax.Array:
    """Where the first states and exploring actions of a seed's evaluation come from, for all trainers."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def ours(algorithm: str, config: Any, seeds: Sequence[int], *, together: bool) -> dict[str, Any]:
    """Evaluations and curves of one of rlx's recipes, the seeds side by side or one after the other."""
    program = recipes.make_program(recipes.recipe(algorithm), config)

    def run(seed):
        state, metrics = make_train(program, config.num_updates)(jax.random.key(seed))
        return program.evaluate(state, evaluation_key(seed)), metrics["return_mean"]

    # Convolutions whose weights differ by seed are slow on a CPU: images are learned one seed after the other.
    over = jax.vmap(run) if together else lambda seeds: jax.lax.map(run, seeds)
    found, curve = jax.device_get(jax.jit(over)(np.asarray(seeds)))
    steps = config.initial_steps + config.steps_per_update * (1 + np.arange(config.num_updates))
    return measured(found, steps, curve)


def purejaxql(folder: Path, config: pqn.Config, seeds: Sequence[int]) -> dict[str, Any]:
    """The same of the authors' code, with the settings of a config, one seed after the other."""
    with peer_module(folder) as module:
        train = module.make_train(peer_settings(config))
        environment = acting.make_environment(config)
        network = module.QNetwork(action_dim=int(environment.action_space.n))

        def q_values(state, observation):
            return network.apply({"params": state.params, "batch_stats": state.batch_stats}, observation, train=False)

        policy = Learner(
            init=None,
            update=None,
            act=lambda state, observation, key: (
                epsilon_greedy(key, q_values(state, observation), config.epsilon_end),
                {},
            ),
            mode=lambda state, observation: jnp.argmax(q_values(state, observation), axis=-1),
        )
        evaluate = evaluation.episodes(environment, policy, num_episodes=config.eval_episodes)

        def run(seed):
            out = train(jax.random.PRNGKey(seed))
            state = out["runner_state"][0]
            return evaluate(state, evaluation_key(seed)), out["metrics"]["returned_episode_returns"]

        found, curve = jax.device_get(jax.jit(lambda seeds: jax.lax.map(run, seeds))(np.asarray(seeds)))
    steps = config.steps_per_update * (1 + np.arange(curve.shape[1]))
    return measured(found, steps, curve)


def peer_settings(config: pqn.Config) -> dict[str, Any]:
    """A config under the names of the authors' code."""
    # It rounds the updates of a run down, rlx rounds them up.
    frames = config.num_updates * config.steps_per_update
    return dict(
        ENV_NAME=config.env.removeprefix("gymnax:"),
        TOTAL_TIMESTEPS=frames,
        TOTAL_TIMESTEPS_DECAY=frames,
        NUM_ENVS=config.num_envs,
        NUM_STEPS=config.unroll_length,
        EPS_START=config.epsilon_start,
        EPS_FINISH=config.epsilon_end,
        EPS_DECAY=config.exploration_fraction,
        NUM_MINIBATCHES=config.num_minibatches,
        NUM_EPOCHS=config.update_epochs,
        NORM_TYPE="layer_norm",
        LR=config.learning_rate,
        LR_LINEAR_DECAY=config.learning_rate_schedule == "linear",
        MAX_GRAD_NORM=config.max_grad_norm,
        GAMMA=config.discount,
        LAMBDA=config.q_lambda,
        REW_SCALE=config.reward_scale,
        WANDB_MODE="disabled",
        TEST_DURING_TRAINING=False,
    )


@contextlib.contextmanager
def peer_module(folder: Path) -> Iterator[Any]:
    """The authors' script as a module, with what it imports but does not use replaced."""
    from gymnax.wrappers.purerl import LogWrapper

    class OneFlag(LogWrapper):
        """`step` as gymnax had it before 1.0."""

        def step(self, key, state, action, params=None):
            observation, state, reward, terminated, truncated, info = LogWrapper.step(self, key, state, action, params)
            # The observation before the reset is an image, which the script would average into its metrics.
            info = {name: value for name, value in info.items() if name != "final_observation"}
            return observation, state, reward, terminated | truncated, info

    stand_ins = {name: types.ModuleType(name) for name in ("hydra", "omegaconf", "wandb")}
    stand_ins["hydra"].main = lambda **options: lambda function: function
    stand_ins["omegaconf"].OmegaConf = None
    replaced = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        spec = importlib.util.spec_from_file_location("pqn_minatar", folder / "purejaxql" / "pqn_minatar.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.LogWrapper = OneFlag
        yield module
    finally:
        for name, before in replaced.items():
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before


def measured(found: dict[str, np.ndarray], steps: np.ndarray, curve: np.ndarray) -> dict[str, Any]:
    """What is recorded of a trainer: one value for each seed, and some points of their curves."""
    points = np.unique(np.linspace(0, len(steps) - 1, POINTS).astype(int))
    # JSON has no NaN: before its first episode has ended, a run has no return.
    returns = [[None if np.isnan(x) else round(float(x), 4) for x in one[points]] for one in curve]
    return {
        "runs": {name: values.tolist() for name, values in found.items()},
        "curve": {"env_steps": steps[points].tolist(), "return_mean": returns},
    }


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Interquartile mean and interval of each trainer's final returns, and whether CartPole is solved."""
    results = {name: run | aggregate(run["runs"]["eval_return_mean"]) for name, run in runs.items()}
    for name, result in results.items():
        if name.startswith("cartpole"):
            result["solved"] = bool(result["interquartile_mean"] >= SOLVED)
    return results


def show(record: dict[str, Any]) -> None:
    """Print a record as a table."""
    timing.show(
        f"Final return (CartPole is solved from {SOLVED:.0f})",
        ("trainer", "seeds", "environment steps", "interquartile mean", "95 % interval", "with exploration", "solved"),
        [
            (
                name,
                str(result["num_runs"]),
                f"{result['curve']['env_steps'][-1]:,}",
                f"{result['interquartile_mean']:.1f}",
                "{:.1f} to {:.1f}".format(*result["interval"]),
                f"{aggregate(result['runs']['eval_stochastic_return_mean'])['interquartile_mean']:.1f}",
                {True: "yes", False: "no", None: ""}[result.get("solved")],
            )
            for name, result in record["results"].items()
        ],
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="of CartPole")
    parser.add_argument("--breakout-seeds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=2_000_000, help="environment steps of a run of Breakout")
    parser.add_argument("--purejaxql", type=Path, help="folder with the authors' repository")
    parser.add_argument("--trainers", help="which to train, by commas; the record keeps what it has of others")
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    known = configs(options.frames)
    seeds = {name: options.breakout_seeds if name.startswith("breakout") else options.seeds for name in known}
    if options.quick:
        known, seeds = {name: (one, tiny(config)) for name, (one, config) in known.items()}, dict.fromkeys(known, 2)
    trainers: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda name=name, one=one, config=config: ours(
            one, config, range(seeds[name]), together=name.startswith("cartpole")
        )
        for name, (one, config) in known.items()
    }
    if options.purejaxql is not None:
        _, config = known["breakout_pqn"]
        trainers["breakout_purejaxql"] = lambda: purejaxql(options.purejaxql, config, range(seeds["breakout_pqn"]))
    names = list(trainers) if options.trainers is None else options.trainers.split(",")
    if unknown := set(names) - trainers.keys():
        parser.error(
            f"--trainers knows {', '.join(trainers)}, and breakout_purejaxql with --purejaxql; "
            f"got {', '.join(sorted(unknown))}"
        )
    runs: dict[str, dict[str, Any]] = {}
    record: dict[str, Any] = {}
    for name in names:
        start = time.perf_counter()
        runs[name] = trainers[name]()
        seconds = time.perf_counter() - start
        print(f"{name}: {np.round(runs[name]['runs']['eval_return_mean'], 1)} in {seconds:.0f} s", flush=True)
        # Read anew, so that trainers may be measured by several processes.
        earlier = {} if options.quick else timing.load("value_based").get("results", {})
        kept = {other: result for other, result in earlier.items() if other not in runs}
        runs = {other: {part: result[part] for part in ("runs", "curve")} for other, result in kept.items()} | runs
        record = {
            "results": summary({name: runs[name] for name in sorted(runs)}),
            "settings": {name: dataclasses.asdict(config) for name, (_, config) in known.items()},
            "breakout_purejaxql_is": f"github.com/mttga/purejaxql at {COMMIT}, purejaxql/pqn_minatar.py, unchanged; "
            "gymnax's step before 1.0, hydra, omegaconf and wandb are replaced by stand-ins",
        }
        # It takes hours in all: what is measured is kept at once.
        if not options.quick:
            print(f"written: {timing.save('value_based', record).name}")
    show(record)
    return record


def tiny(config: Any) -> Any:
    """The same benchmark at a size that only shows that it runs."""
    small = dict(num_envs=2, unroll_length=4, hidden_sizes=(8,), eval_episodes=2, max_eval_steps=4, total_steps=32)
    if isinstance(config, pqn.Config):
        return dataclasses.replace(config, **small, num_minibatches=2, update_epochs=1)
    return dataclasses.replace(config, **small, batch_size=4, buffer_size=32, warmup_steps=8)


if __name__ == "__main__":
    main()
