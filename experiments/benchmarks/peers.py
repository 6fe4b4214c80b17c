"""Training speed against Brax's own PPO and a PureJaxRL-style loop: environment steps per second after compilation.

All train the same task on the same physics backend with the same networks (two separate MLPs of 2×256 tanh), batch,
epochs and minibatches, normalize observations and clip the gradient's norm, and run in turn in this one process:

- `rlx`: `Program.step` under `lax.scan`, with its metrics.
- `purejaxrl`: a loop of the structure that PureJaxRL made known, written for this benchmark (`purejaxrl_style.py`).
- `brax`: `brax.training.agents.ppo.train`, unchanged, no evaluations. It times its own compiled epochs, which
  it reports as `training/sps`; its progress callback runs the others between two epochs. It calls
  `jax.device_put_replicated`, which JAX 0.10 removed: this benchmark puts an equivalent in that place while Brax runs.
  Its policy is its own: tanh-squashed, with a state-dependent scale.

Brax's wrapper, used by both peers, resets to one cached first state per environment and drops the last observation of
an episode; rlx draws fresh initial states and bootstraps time limits exactly, and pays for it in these numbers.
The PureJaxRL-style loop also normalizes rewards and clips its value loss, as the original does; rlx here does neither.
Brax's own speed includes what its host loop does inside a timed epoch.
rejax 0.1.3 cannot take part: it fails on Brax environments with gymnax 1.0.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks import purejaxrl_style, timing
from rlx.recipes import make_program
from rlx.recipes import ppo as wiring
from rlx.recipes.ppo import Config

TARGET = 1.25
EPISODE_LENGTH = 1000


@contextlib.contextmanager
def replicated_put() -> Iterator[None]:
    """Give JAX back `device_put_replicated` while Brax's PPO runs: one copy per device along a new leading axis."""

    def device_put_replicated(tree, devices):
        sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, "i"), jax.sharding.PartitionSpec("i"))
        return jax.tree.map(
            lambda x: jax.device_put(jnp.broadcast_to(x, (len(devices), *jnp.shape(x))), sharding), tree
        )

    if hasattr(jax, "device_put_replicated"):
        yield
        return
    jax.device_put_replicated = device_put_replicated
    try:
        yield
    finally:
        del jax.device_put_replicated


def brax_epochs(config: Config, updates: int, epochs: int, between: Callable[[], None]) -> list[float]:
    """Seconds of each epoch (of `updates` updates) of Brax's PPO; calls `between` after each.

    The first epoch, which compiles, is left out.
    """
    from brax import envs as brax_envs
    from brax.training.agents.ppo import networks
    from brax.training.agents.ppo import train as brax_ppo
    from flax import linen

    steps = updates * config.steps_per_update
    speeds = []

    def progress(_, metrics):
        speeds.append(float(metrics["training/sps"]))
        between()

    with replicated_put():
        brax_ppo.train(
            environment=brax_envs.get_environment(config.env.removeprefix("brax:"), backend=config.backend),
            num_timesteps=(epochs + 1) * steps,
            num_envs=config.num_envs,
            episode_length=EPISODE_LENGTH,
            unroll_length=config.unroll_length,
            # Counted in unrolls: one minibatch holds this many of them.
            batch_size=config.num_envs // config.num_minibatches,
            num_minibatches=config.num_minibatches,
            num_updates_per_batch=config.update_epochs,
            learning_rate=config.learning_rate,
            discounting=config.discount,
            gae_lambda=config.gae_lambda,
            clipping_epsilon=config.clip,
            entropy_cost=config.entropy_coefficient,
            max_grad_norm=config.max_grad_norm,
            normalize_observations=True,
            network_factory=functools.partial(
                networks.make_ppo_networks,
                policy_hidden_layer_sizes=config.hidden_sizes,
                value_hidden_layer_sizes=config.hidden_sizes,
                activation=linen.tanh,
            ),
            # One report after each epoch, and one before the first that `run_evals=False` leaves out.
            num_evals=epochs + 2,
            run_evals=False,
            progress_fn=progress,
        )
    return [steps / speed for speed in speeds[1:]]


def measure(config: Config, updates: int, repetitions: int) -> dict[str, Any]:
    """Seconds of `updates` updates of each trainer, and how much faster rlx is."""
    program = make_program(wiring.RECIPE, config)
    state = jax.jit(program.init)(jax.random.key(0))
    peer = purejaxrl_style.make_program(config, EPISODE_LENGTH)
    peer_state = jax.jit(peer.init)(jax.random.key(0))

    def repeated(step):
        return lambda state: jax.lax.scan(lambda state, _: step(state), state, length=updates)

    others = {
        "rlx": timing.compiled(repeated(program.step), state),
        "purejaxrl": timing.compiled(repeated(peer.step), peer_state),
    }
    times: dict[str, list[float]] = {name: [] for name in others}

    def run_others():
        for name, run in others.items():
            times[name].append(timing.seconds(run))

    brax = brax_epochs(config, updates, repetitions, run_others)
    # After Brax's first epoch, which is not counted, the others ran untimed as well.
    times = {name: values[1:] for name, values in times.items()} | {"brax": brax}
    steps = updates * config.steps_per_update
    return {
        "settings": timing.settings_of(config) | {"updates": updates},
        "steps_per_second": {name: steps / statistics.median(values) for name, values in times.items()},
        "rlx_is_faster_by": {name: timing.median_ratio(times[name], times["rlx"]) for name in times if name != "rlx"},
        "seconds": times,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(timing.SETTINGS), default=list(timing.SETTINGS))
    parser.add_argument("--updates", type=int, default=2, help="updates of one timed call")
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    results = {}
    for task in options.tasks[:1] if options.quick else options.tasks:
        if options.quick:
            results[task] = measure(timing.tiny(timing.SETTINGS[task]), 1, 1)
        else:
            results[task] = measure(timing.SETTINGS[task], options.updates, options.repetitions)
    timing.show(
        f"Environment steps per second of training (target: rlx ≥ {TARGET} × each)",
        ("task", "rlx", "PureJaxRL style", "Brax PPO", "rlx / PureJaxRL", "rlx / Brax"),
        [
            (
                task,
                *(f"{result['steps_per_second'][name]:,.0f}" for name in ("rlx", "purejaxrl", "brax")),
                *(f"{result['rlx_is_faster_by'][name]:.2f}" for name in ("purejaxrl", "brax")),
            )
            for task, result in results.items()
        ],
    )
    print("Brax's PPO ran with a stand-in for jax.device_put_replicated; rejax fails with these versions.")
    record = {
        "results": results,
        "brax_made_to_run_by": "a stand-in for the removed jax.device_put_replicated",
    }
    if not options.quick:
        print(f"written: {timing.save('peers', record).name}")
    return record


if __name__ == "__main__":
    main()
