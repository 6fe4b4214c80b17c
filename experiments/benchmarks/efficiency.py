"""How much of training is physics and gradients: (bare environment + bare gradients) / training.

Three programs of one update each, timed in turn: training (`Program.step`: policy, environments, values, advantages,
shuffling, gradient steps, statistics); the bare environment steps (the same environments with the same automatic
resets, in one scan over actions drawn beforehand from the policy's initial scale); the bare gradient steps (epochs ·
minibatches steps of the same loss and optimizer on one resident minibatch). What is missing to 1 is overhead, in which
the policy's forward pass and the critic's, that no implementation can leave out, are counted too.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks import timing
from rlx import envs, policies
from rlx.algorithms import ppo
from rlx.recipes import acting, make_program
from rlx.recipes import ppo as wiring
from rlx.recipes.ppo import Config

TARGETS = {"inverted_pendulum": 0.85, "ant": 0.9}


def bare_environment(config: Config, environment: envs.Environment, *, automatic_reset: bool = True) -> Callable:
    """One rollout's environment steps, `(state, actions [time, env, ...], key) -> sums of what a step returns`."""
    step = environment.step
    if not automatic_reset:

        def step(state, action, key):
            reached = environment.task.step(state.task, action, key)
            kept = (reached.observation, reached.reward, reached.terminated)
            return state._replace(task=reached.state, elapsed=state.elapsed + 1), kept

    def rollout(state, actions, key):
        def interact(state, inputs):
            action, key = inputs
            return jax.vmap(step)(state, action, jax.random.split(key, config.num_envs))

        return jax.lax.scan(interact, state, (actions, jax.random.split(key, config.unroll_length)))

    return rollout


def bare_gradients(config: Config, environment: envs.Environment) -> tuple[Callable, Callable]:
    """One update's gradient steps: `init(key) -> state` and `steps(state, minibatch) -> state`."""
    policy = policies.policy(environment.action_space, config.hidden_sizes)
    critic = policies.critic(config.hidden_sizes)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adam(config.learning_rate, eps=config.adam_epsilon),
    )
    surrogate = ppo.clipped_surrogate(config.clip)

    def init(key, observation):
        policy_key, critic_key = jax.random.split(key)
        params = {
            "policy": policy.init(policy_key, observation),
            "critic": critic.init(critic_key, observation),
        }
        return params, optimizer.init(params)

    def objective(params, batch: ppo.Minibatch):
        log_prob = policy.apply(params["policy"], batch.observation).log_prob(batch.action)
        batch = batch._replace(log_prob=log_prob, value=critic.apply(params["critic"], batch.observation))
        return jnp.mean(surrogate(batch)) + config.value_coefficient * jnp.mean(ppo.squared_value_loss(batch))

    def steps(state, minibatch):
        def step(state, _):
            params, optimizer_state = state
            gradient = jax.grad(objective)(params, minibatch)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
            return (optax.apply_updates(params, updates), optimizer_state), None

        return jax.lax.scan(step, state, length=config.update_epochs * config.num_minibatches)[0]

    return init, steps


def programs(config: Config) -> dict[str, Callable[[], Any]]:
    """The compiled programs, each the work of one update."""
    environment = acting.make_environment(config)
    program = make_program(wiring.RECIPE, config, environment=environment)
    state = jax.jit(program.init)(jax.random.key(0))

    action_key, key = jax.random.split(jax.random.key(1))
    space = environment.action_space
    shape = (config.unroll_length, config.num_envs, *space.shape)
    actions = jnp.clip(jax.random.normal(action_key, shape), space.low, space.high)

    samples = config.steps_per_update // config.num_minibatches
    gradient_init, gradient_steps = bare_gradients(config, environment)
    learner = jax.jit(gradient_init)(jax.random.key(2), state.source.observation[0])
    minibatch = resident_minibatch(jax.random.key(3), samples, state.source.observation.shape[1:], space.shape)

    return {
        "training": timing.compiled(program.step, state),
        "environment": timing.compiled(bare_environment(config, environment), state.source.environment, actions, key),
        "gradients": timing.compiled(gradient_steps, learner, minibatch),
        "environment_without_reset": timing.compiled(
            bare_environment(config, environment, automatic_reset=False), state.source.environment, actions, key
        ),
    }


def resident_minibatch(key, samples: int, observation_shape: tuple[int, ...], action_shape: tuple[int, ...]):
    """A minibatch of normal numbers: its contents do not matter to the time, its shapes do."""
    keys = jax.random.split(key, 6)
    shapes = [(samples, *observation_shape), (samples, *action_shape), *[(samples,)] * 4]
    arrays = [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]
    return ppo.Minibatch(*arrays, step=jnp.zeros((), jnp.int32))


def measure(config: Config, repetitions: int) -> dict[str, Any]:
    """Times per update and the efficiency that follows from them."""
    times = timing.alternate(programs(config), repetitions)
    bound = [sum(pair) for pair in zip(times["environment"], times["gradients"], strict=True)]
    return {
        "settings": timing.settings_of(config),
        "efficiency": timing.median_ratio(bound, times["training"]),
        "median_seconds": {name: statistics.median(values) for name, values in times.items()},
        "steps_per_second": config.steps_per_update / statistics.median(times["training"]),
        "seconds": times,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    results = {}
    for task in options.tasks[:1] if options.quick else options.tasks:
        config = timing.tiny(timing.SETTINGS[task]) if options.quick else timing.SETTINGS[task]
        results[task] = measure(config, 1 if options.quick else options.repetitions)
    record = {"results": results}
    milliseconds = lambda result, name: f"{1e3 * result['median_seconds'][name]:.1f}"
    timing.show(
        "Milliseconds of one update: bare parts against training",
        (
            "task",
            "environment",
            "(without reset)",
            "gradients",
            "training",
            "steps/s",
            "efficiency",
            "target",
        ),
        [
            (
                task,
                *(
                    milliseconds(result, name)
                    for name in ("environment", "environment_without_reset", "gradients", "training")
                ),
                f"{result['steps_per_second']:,.0f}",
                f"{result['efficiency']:.3f}",
                f"{TARGETS[task]:.2f}",
            )
            for task, result in results.items()
        ],
    )
    if not options.quick:
        print(f"written: {timing.save('efficiency', record).name}")
    return record


if __name__ == "__main__":
    main()
