"""Speed of learning from a dataset: the whole program against bare gradient steps, seeds in one program, PRDC's search.

The learner is TD3+BC, the dataset lies on the device, and an update is a gradient step of the critics.

- The program (`rlx.training.sources.dataset`: draws, gradient steps, targets, metrics) against bare gradient steps,
  written here for one resident batch and noise drawn beforehand.
- 8 seeds against one seed, in one program on one device (`--batching vmap`), and as they are trained on a CPU: the
  program of one seed, called for one seed after the other on each of the devices that
  `rlx.training.sharding.use_cores` makes of a CPU's cores.
- PRDC, which looks up the nearest of all (β·s, a) in every step of its actor: an update of it, its search, and beside
  it the search by a k-d tree on the host, a core for a query, which an update would have to wait for.

All take turns in this one process.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import timing
from rlx import data, policies
from rlx.algorithms import Learner, prdc, td3_bc
from rlx.training import program as programs
from rlx.training import sources
from rlx.training.compiled import Build
from rlx.training.sharding import use_cores

FLOOR = 0.9
"""Updates/s of the program over those of bare gradient steps."""

OBSERVATION, ACTION = 11, 3
SPACE = gymnasium.spaces.Box(-1.0, 1.0, (ACTION,), np.float32)
ALPHA, BETA, DISCOUNT, TAU, DELAY, SMOOTHING_STD, SMOOTHING_CLIP, RATE = 2.5, 2.0, 0.99, 0.005, 2, 0.2, 0.5, 3e-4


class Size(NamedTuple):
    """What is measured.

    Attributes:
        rows: transitions of the dataset.
        hidden_sizes: of actor and critics.
        batch_size: transitions of a minibatch.
        updates: gradient steps of one timed call.
        seeds: of the program of several.
        search_updates: gradient steps of one timed call with PRDC.
    """

    rows: int = 1_000_000
    hidden_sizes: tuple[int, ...] = (256, 256)
    batch_size: int = 256
    updates: int = 200
    seeds: int = 8
    search_updates: int = 2


TINY = Size(rows=64, hidden_sizes=(8, 8), batch_size=4, updates=4, seeds=2)


def make_dataset(key: jax.Array, rows: int) -> data.Dataset:
    """Episodes of 1000 rows of normal numbers, of the sizes of the hopper: their contents do not matter to the time of
    a gradient step."""
    keys = jax.random.split(key, 4)
    row = jnp.arange(rows)
    return data.Dataset(
        observation=jax.random.normal(keys[0], (rows, OBSERVATION)),
        action=jnp.tanh(jax.random.normal(keys[1], (rows, ACTION))),
        reward=jax.random.normal(keys[2], (rows,)),
        next_observation=jax.random.normal(keys[3], (rows, OBSERVATION)),
        terminated=jnp.zeros(rows, bool),
        truncated=(row % 1000 == 999) | (row == rows - 1),
        episode_start=jnp.arange(0, rows, 1000),
    )


def networks(size: Size) -> tuple[policies.Network, policies.Network]:
    """Actor and twin critics."""
    return policies.deterministic(SPACE, size.hidden_sizes), policies.action_critic(size.hidden_sizes)


def make_learner(size: Size, dataset: data.Dataset | None = None, *, smoothing_std: float = SMOOTHING_STD) -> Learner:
    """TD3+BC; with a dataset to search, PRDC."""
    arguments = (*networks(size), optax.adam(RATE), optax.adam(RATE))
    settings = dict(
        alpha=ALPHA,
        discount=DISCOUNT,
        tau=TAU,
        policy_delay=DELAY,
        smoothing_std=smoothing_std,
        smoothing_clip=SMOOTHING_CLIP,
    )
    if dataset is None:
        return td3_bc.learner(*arguments, **settings)
    return prdc.learner(*arguments, dataset.observation, dataset.action, beta=BETA, **settings)


def make_program(size: Size, dataset: data.Dataset, *, updates: int, searches: bool = False) -> programs.Program:
    """The program of a learner from the dataset, `updates` gradient steps a step; it is never evaluated, anywhere."""
    learner = make_learner(size, dataset if searches else None)
    source = sources.dataset(dataset, learner, batch_size=size.batch_size, updates_per_step=updates)
    return programs.make_program(source, learner)


def bare_gradients(size: Size) -> tuple[Callable, Callable]:
    """TD3+BC's gradient steps and no more: `init(key) -> state`, `steps(state, batch, noise) -> state`.

    `batch` is a `rlx.data.Batch` and `noise` the clipped noise on the target's actions, both `[DELAY, sample, ...]`.
    """
    actor, critic = networks(size)
    optimizer = optax.adam(RATE)

    def init(key):
        actor_key, critic_key = jax.random.split(key)
        observation, action = jnp.zeros(OBSERVATION), jnp.zeros(ACTION)
        params = actor.init(actor_key, observation), critic.init(critic_key, observation, action)
        return params, params, tuple(optimizer.init(part) for part in params)

    def descend(objective, params, optimizer_state):
        updates, optimizer_state = optimizer.update(jax.grad(objective)(params), optimizer_state)
        return optax.apply_updates(params, updates), optimizer_state

    def update(state, batch, noise):
        (actor_params, critic_params), target_params, (actor_state, critic_state) = state
        target_actor, target_critic = target_params

        for i in range(DELAY):
            part = jax.tree.map(lambda x, i=i: x[i], batch)
            next_action = jnp.clip(actor.apply(target_actor, part.next_observation) + noise[i], SPACE.low, SPACE.high)
            next_q = critic.apply(target_critic, part.next_observation, next_action).min(0)
            target = part.reward + DISCOUNT * (1 - part.terminated) * next_q

            def critic_loss(params, part=part, target=target):
                q = critic.apply(params, part.observation, part.action)
                return jnp.sum(jnp.mean(jnp.square(q - target), axis=-1))

            critic_params, critic_state = descend(critic_loss, critic_params, critic_state)

        def actor_loss(params):
            action = actor.apply(params, part.observation)
            q = critic.apply(jax.tree.map(lambda x: x[:1], critic_params), part.observation, action)[0]
            scale = ALPHA / jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))
            return jnp.mean(jnp.mean(jnp.square(action - part.action), axis=-1) - scale * q)

        actor_params, actor_state = descend(actor_loss, actor_params, actor_state)
        params = actor_params, critic_params
        target_params = jax.tree.map(lambda new, old: old + TAU * (new - old), params, target_params)
        return params, target_params, (actor_state, critic_state)

    def steps(state, batch, noise):
        return jax.lax.scan(lambda state, _: (update(state, batch, noise), None), state, length=size.updates // DELAY)[
            0
        ]

    return init, steps


def cost_of_program(size: Size, dataset: data.Dataset, repetitions: int) -> dict[str, Any]:
    """Seconds of the program, of several seeds in one, and of the bare gradient steps."""

    def step(dataset, state):
        return build.make({}, dataset).step(state)

    build = Build(lambda _, dataset: make_program(size, dataset, updates=size.updates), dataset)
    one = jax.jit(lambda dataset, key: build.make({}, dataset).init(key))(dataset, jax.random.key(1))
    devices = min(size.seeds, jax.device_count())

    init, steps = bare_gradients(size)
    batch = data.sample(dataset, jax.random.key(2), (DELAY, size.batch_size))
    noise = jnp.clip(
        SMOOTHING_STD * jax.random.normal(jax.random.key(3), batch.action.shape), -SMOOTHING_CLIP, SMOOTHING_CLIP
    )
    times = timing.alternate(
        {
            "bare": timing.compiled(steps, init(jax.random.key(1)), batch, noise),
            "program": timing.compiled(step, dataset, one),
            "seeds_in_one_program": timing.update_of_runs(build, size.seeds, batching="vmap"),
            "seeds_as_trained": timing.update_of_runs(build, size.seeds, devices=devices),
        },
        repetitions,
    )
    return {
        "seeds": size.seeds,
        "seeds_over_devices": devices,
        "updates_per_second": {
            name: size.updates * (size.seeds if name.startswith("seeds") else 1) / statistics.median(values)
            for name, values in times.items()
        },
        "program_over_bare": timing.median_ratio(times["bare"], times["program"]),
        "cost_in_seeds": {
            name: timing.median_ratio(values, times["program"])
            for name, values in times.items()
            if name.startswith("seeds")
        },
        "seconds": times,
    }


def cost_of_search(size: Size, dataset: data.Dataset, repetitions: int) -> dict[str, Any]:
    """Seconds of an update of PRDC and of TD3+BC, and of one search by each means."""
    from scipy.spatial import cKDTree

    def steps(searches):
        def step(dataset, state):
            return make_program(size, dataset, updates=size.search_updates, searches=searches).step(state)

        program = make_program(size, dataset, updates=size.search_updates)
        return timing.compiled(step, dataset, jax.jit(program.init)(jax.random.key(1)))

    # A policy's actions at states of the data, as in training.
    batch = data.sample(dataset, jax.random.key(2), size.batch_size)
    action = jnp.tanh(jax.random.normal(jax.random.key(3), batch.action.shape))
    query = jnp.concatenate([BETA * batch.observation, action], axis=-1)
    keys = jnp.concatenate([BETA * dataset.observation, dataset.action], axis=-1)
    search = lambda query, keys: data.nearest_neighbor(query, keys, chunk=65_536)
    tree = cKDTree(np.asarray(keys))
    times = timing.alternate(
        {
            "td3_bc": steps(False),
            "prdc": steps(True),
            "search": timing.compiled(search, query, keys),
            "tree": lambda: tree.query(np.asarray(query), workers=-1),
        },
        repetitions,
    )
    index, _ = jax.jit(search)(query, keys)
    return {
        "rows": size.rows,
        "seconds_per_update": {
            name: statistics.median(times[name]) / size.search_updates for name in ("td3_bc", "prdc")
        },
        "seconds_per_search": {name: statistics.median(times[name]) for name in ("search", "tree")},
        "same_neighbors": float(np.mean(tree.query(np.asarray(query))[1] == np.asarray(index)[:, 0])),
        "seconds": times,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=Size().rows, help="transitions of the dataset")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    size, repetitions = (TINY, 1) if options.quick else (Size(rows=options.rows), options.repetitions)
    use_cores(size.seeds)
    dataset = jax.jit(make_dataset, static_argnums=1)(jax.random.key(0), size.rows)
    program = cost_of_program(size, dataset, repetitions)
    search = cost_of_search(size, dataset, repetitions)
    timing.show(
        f"TD3+BC, networks {'×'.join(map(str, size.hidden_sizes))}, batch {size.batch_size}",
        ("", "updates/s", "cost / one seed"),
        [
            (name, f"{speed:,.0f}", f"{program['cost_in_seeds'][name]:.2f}" if name in program["cost_in_seeds"] else "")
            for name, speed in program["updates_per_second"].items()
        ],
    )
    print(f"program / bare gradient steps: {program['program_over_bare']:.3f} (floor: {FLOOR})")
    timing.show(
        f"PRDC at {size.rows:,} transitions",
        ("", "milliseconds"),
        [
            (name, f"{1e3 * value:,.2f}")
            for name, value in (search["seconds_per_update"] | search["seconds_per_search"]).items()
        ],
    )
    record = {"settings": size._asdict(), "program": program, "search": search}
    if not options.quick:
        print(f"written: {timing.save('offline', record).name}")
    return record


if __name__ == "__main__":
    main()
