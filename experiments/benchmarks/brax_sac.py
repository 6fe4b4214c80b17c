"""Returns of SAC and TD3 on brax:hopper against Brax's own SAC, at equal environment steps.

All train in the same physics with networks, batches, discount, reward scale, target entropy, replay, normalization of
observations and random steps alike, which were chosen by what suits Brax's SAC. At the end the deterministic policy of
every seed is evaluated by the same function, in the same environment, from the same first states.

- `sac`: `rlx.training.sources.replay`, the seeds in one program, with the learning rate and the gradient steps per
  environment step of `brax`; `sac_lecun` begins with weights as Brax's, `sac_untrained` moreover acts at first by its
  untrained policy, as Brax's does.
- `td3`: the learning rate of its authors' code, and a gradient step per environment step as in its paper; what else is
  its own is its paper's. `td3_as_sac` has the learning rate and the fewer gradient steps of `sac`.
- `brax`: `brax.training.agents.sac.train`, unchanged, one seed after the other. JAX 0.10 removed
  `jax.device_put_replicated`, which it calls: an equivalent takes that place while it runs. `JAX_COMPILATION_CACHE_DIR`
  saves the compilation of all seeds but the first.

What `sac_untrained` and `brax` still differ in is their own: order of the updates, when statistics of observations
begin (Brax's with the first random step), resets (Brax's wrapper returns to one first state per environment), and how
time limits enter a target (Brax leaves such transitions out, rlx bootstraps from what they reached).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import timing
from experiments.benchmarks.peers import replicated_put
from rlx import envs
from rlx.algorithms import Learner
from rlx.recipes import acting, make_program, off_policy, sac, td3
from rlx.training import evaluation
from rlx.training.compiled import over_runs
from rlx.training.program import make_train
from rlx.training.statistics import aggregate

SETTINGS = dict(
    env="brax:hopper",
    backend="mjx",
    total_steps=200_000,
    num_envs=64,
    updates_per_step=16,
    batch_size=128,
    buffer_size=200_000,
    warmup_steps=8192,
    learning_rate=6e-4,
    discount=0.99,
    tau=0.005,
    reward_scale=1.0,
    hidden_sizes=(128, 128),
    activation="relu",
    normalize_observation=True,
    eval_episodes=128,
)
"""A run of minutes on two cores. Discount and reward scale are those of three with which Brax's SAC learned most in
this time: 2693 with seed 0, against 1023 with those that its authors give for 6.5 million steps (0.997 and 30)."""

# Constants of Brax's SAC.
_SAC = sac.Config(**SETTINGS, std="softplus", initial_std=0.694, target_entropy=-0.5, temperature_learning_rate=3e-4)
CONFIGS = {
    "sac": _SAC,
    "sac_lecun": dataclasses.replace(_SAC, initialization="lecun_uniform"),
    "sac_untrained": dataclasses.replace(_SAC, initialization="lecun_uniform", warmup_policy="untrained"),
    "td3": td3.Config(**SETTINGS | td3.RECIPE.presets[SETTINGS["env"]].overrides),
    "td3_as_sac": td3.Config(**SETTINGS),
}


def evaluation_key(seed: int | jax.Array) -> jax.Array:
    """Where the first states and exploring actions of a seed's evaluation come from, for all trainers."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def ours(config: off_policy.ActorCritic, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Evaluations of one of rlx's learners, one of each seed, trained in one program."""
    found = td3.RECIPE if isinstance(config, td3.Config) else sac.RECIPE
    program = make_program(found, config)

    def run(seed):
        state, _ = make_train(program, config.num_updates)(jax.random.key(seed))
        return program.evaluate(state, evaluation_key(seed))

    together = over_runs(run)
    return {key: values.tolist() for key, values in jax.device_get(jax.jit(together)(np.asarray(seeds))).items()}


def brax(config: off_policy.ActorCritic, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Evaluations of Brax's SAC, one of each seed, trained one after the other."""
    environment = acting.make_environment(config)
    evaluate = None
    found = []
    for seed in seeds:
        make_policy, params = train_brax(config, environment.max_episode_steps, seed)
        if evaluate is None:
            evaluate = jax.jit(functools.partial(evaluate_brax, config, environment, make_policy))
        found.append(jax.device_get(evaluate(params, evaluation_key(seed))))
    return {key: [float(one[key]) for one in found] for key in found[0]}


def train_brax(config: off_policy.ActorCritic, episode_length: int, seed: int) -> tuple[Callable, Any]:
    """Brax's SAC with the settings of a config: how a policy is made of parameters, and the trained ones."""
    from brax import envs as brax_envs
    from brax.training.agents.sac import networks
    from brax.training.agents.sac import train as brax_sac
    from flax import linen

    with replicated_put():
        make_policy, params, _ = brax_sac.train(
            environment=brax_envs.get_environment(config.env.removeprefix("brax:"), backend=config.backend),
            num_timesteps=config.total_steps,
            episode_length=episode_length,
            num_envs=config.num_envs,
            seed=seed,
            learning_rate=config.learning_rate,
            discounting=config.discount,
            batch_size=config.batch_size,
            normalize_observations=config.normalize_observation,
            reward_scaling=config.reward_scale,
            tau=config.tau,
            min_replay_size=config.warmup_steps,
            max_replay_size=config.buffer_size,
            grad_updates_per_step=config.updates_per_step,
            network_factory=functools.partial(
                networks.make_sac_networks,
                hidden_layer_sizes=config.hidden_sizes,
                activation=getattr(linen, config.activation),
            ),
            # It evaluates at its end whether asked to or not.
            num_eval_envs=1,
        )
    return make_policy, params


def evaluate_brax(
    config: off_policy.ActorCritic, environment: envs.Environment, make_policy: Callable, params: Any, key: jax.Array
) -> dict[str, jax.Array]:
    """A policy of Brax's, evaluated as rlx's are."""
    policy = Learner(
        init=None,
        act=lambda params, observation, key: make_policy(params)(observation, key),
        mode=lambda params, observation: make_policy(params, deterministic=True)(observation, None)[0],
        update=None,
    )
    return evaluation.episodes(environment, policy, num_episodes=config.eval_episodes)(params, key)


def summary(runs: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, Any]]:
    """Interquartile mean and interval of each trainer's final returns; of ours, whether they reach Brax's interval."""
    results = {name: {"runs": run} | aggregate(run["eval_return_mean"]) for name, run in runs.items()}
    if "brax" in results:
        low, _ = results["brax"]["interval"]
        for name in results.keys() - {"brax"}:
            results[name]["reaches_brax"] = bool(results[name]["interquartile_mean"] >= low)
    return results


def show(record: dict[str, Any]) -> None:
    """Print a record as a table."""
    settings = record["settings"]["sac"]
    timing.show(
        f"{settings['env']}: return after {settings['total_steps']:,} environment steps",
        ("trainer", "seeds", "interquartile mean", "95 % interval", "with exploration", "reaches Brax's interval"),
        [
            (
                name,
                str(result["num_runs"]),
                f"{result['interquartile_mean']:.0f}",
                "{:.0f} to {:.0f}".format(*result["interval"]),
                f"{aggregate(result['runs']['eval_stochastic_return_mean'])['interquartile_mean']:.0f}",
                {True: "yes", False: "no", None: ""}[result.get("reaches_brax")],
            )
            for name, result in record["results"].items()
        ],
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument(
        "--trainers",
        default="sac,sac_lecun,sac_untrained,td3,td3_as_sac,brax",
        help="which to train, by commas; the record keeps what it has of others",
    )
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    configs, num_seeds, names = CONFIGS, options.seeds, options.trainers.split(",")
    if options.quick:
        configs, num_seeds, names = {"sac": tiny(CONFIGS["sac"])}, 2, ["sac", "brax"]
    trainers = {name: functools.partial(ours, config) for name, config in configs.items()}
    trainers["brax"] = functools.partial(brax, configs["sac"])
    if unknown := set(names) - trainers.keys():
        parser.error(f"--trainers knows {', '.join(trainers)}; got {', '.join(sorted(unknown))}")
    known = {} if options.quick else timing.load("brax_sac").get("results", {})
    runs = {name: result["runs"] for name, result in known.items() if name not in names}
    for name in names:
        start = time.perf_counter()
        runs[name] = trainers[name](range(num_seeds))
        seconds = time.perf_counter() - start
        print(f"{name}: {np.round(runs[name]['eval_return_mean'], 1)} in {seconds:.0f} s", flush=True)
        record = {
            "results": summary({name: runs[name] for name in trainers if name in runs}),
            "settings": {name: dataclasses.asdict(config) for name, config in configs.items()},
            "gradient_steps": {name: c.num_updates * c.updates_per_step for name, c in configs.items()},
            "brax_made_to_run_by": "a stand-in for the removed jax.device_put_replicated",
        }
        # It takes an hour in all: what is measured is kept at once.
        if not options.quick:
            print(f"written: {timing.save('brax_sac', record).name}")
    show(record)
    return record


def tiny(config: off_policy.ActorCritic) -> off_policy.ActorCritic:
    """The same benchmark at a size that only shows that it runs, in Brax's test of trainers, which compiles fast."""
    return dataclasses.replace(
        config,
        env="brax:fast",
        max_episode_steps=20,
        total_steps=64,
        num_envs=8,
        updates_per_step=2,
        batch_size=8,
        buffer_size=64,
        warmup_steps=32,
        hidden_sizes=(8, 8),
        eval_episodes=2,
    )


if __name__ == "__main__":
    main()
