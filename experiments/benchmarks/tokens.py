"""Speed of language models: sampling against bare decode steps, learning against bare gradients, shares of both.

All programs take turns in this process, on the same parameters and tokens.

- Sampling (each prompt read once for its group, then `decode`: temperature, draws, log-probabilities of both
  distributions, stop tokens) against the bound that bare decode steps give: one token of every sequence through the
  model to its logits, each weight read once, with a cache of the same capacity, in one scan over tokens known
  beforehand. `decode` alone, after the prompts have been read, is timed too.
- A gradient step of GRPO (chunks of logits, made again in the backward pass; padding masked; clipped surrogate, entropy
  and diagnostics; clipping and AdamW) against the bare gradient: `jax.grad` of the mean negative log-likelihood of the
  same tokens, all logits at once, no mask, no optimizer; and against that with clipping and AdamW. Neither makes logits
  of the prompts. A gradient step is what further passes over the batch add to an update, divided by their steps.
- Shares of a whole update of training (`rlx.recipes.grpo`): sampling and verification, the score under the
  sampling policy, gradient steps, and the rest (problems, advantages, diagnostics of the batch).
- Memory of each compiled program (arguments, results and temporaries), and on devices that count what is allocated its
  peak after initialization and one update, before anything else.

A policy of random weights answers random prompts and never ends, so that the number of tokens is known; at the size
"addition", that of the experiments, it answers sums, and some responses end early. At bfloat16, so are parameters and
the optimizer's moments. On a GPU: `--model qwen2.5-0.5b`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks import timing
from rlx.algorithms import grpo
from rlx.algorithms.learner import Learner
from rlx.envs.language.protocol import Problem, TokenTask, Verdict
from rlx.policies import transformer
from rlx.recipes import grpo as recipe
from rlx.recipes import language, language_tasks
from rlx.training import program, responses, sources

TARGETS = {"sampling": 0.7, "learning": 0.85}
"""Least shares of the speed of bare decode steps and of bare gradients."""

MORE_PASSES = 2
"""Passes over a batch by which the longer of two updates exceeds the other."""


class Endless(TokenTask):
    """A task whose responses fill their length: no token ends them."""

    end_token = -1


def random_task(vocab_size: int, prompt_length: int, response_length: int) -> TokenTask:
    """Random prompts, to which half of all responses are right: those whose tokens add up to an even number."""

    def generate(key) -> Problem:
        prompt = jax.random.randint(key, (prompt_length,), 0, vocab_size)
        return Problem(prompt, jnp.ones(prompt.shape, bool), ())

    def verify(problem, token, where) -> Verdict:
        total = jnp.sum(token)
        return Verdict(total % 2 == 0, total, jnp.asarray(response_length), jnp.where(where, 0, -1))

    solve = lambda problem: jnp.zeros(response_length, jnp.int32)
    vocabulary = tuple(map(str, range(vocab_size)))
    return Endless("random", vocabulary, prompt_length, response_length, generate, solve, verify)


class Size(NamedTuple):
    """What is measured.

    Attributes:
        model: structure of the policy.
        task: what it answers.
        num_prompts: of an update.
        group_size: responses to each.
        minibatches: gradient steps of a pass.
        remat: recompute layers in the backward pass.
    """

    model: transformer.Config
    task: TokenTask
    num_prompts: int = 8
    group_size: int = 8
    minibatches: int = 1
    remat: bool = False

    @property
    def sequences(self) -> int:
        """Responses of an update."""
        return self.num_prompts * self.group_size

    @property
    def settings(self) -> dict[str, Any]:
        """For the result file."""
        lengths = {name: getattr(self.task, name) for name in ("name", "prompt_length", "response_length")}
        return self._asdict() | {"model": dataclasses.asdict(self.model), "task": lengths}


def medium() -> Size:
    """Large enough that products of matrices take most of the time on a CPU."""
    model = transformer.Config(4096, hidden_size=256, intermediate_size=1024, num_layers=4, head_dim=64)
    return Size(model, random_task(model.vocab_size, prompt_length=32, response_length=64))


def addition() -> Size:
    """One seed of the experiments by their defaults."""
    config = recipe.Config()
    task = language_tasks.make_environment(config)
    model = language.make_structure(config, task)
    return Size(model, task, config.num_prompts, config.group_size, config.minibatches, config.remat)


def qwen() -> Size:
    """Qwen2.5-0.5B's structure in bfloat16, 64 responses of 512 tokens, 8 of them in a gradient step: for a GPU."""
    model = transformer.Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_layers=24,
        num_heads=14,
        num_key_value_heads=2,
        head_dim=64,
        rope_theta=1e6,
        tie_embeddings=True,
        attention_bias=True,
        max_position_embeddings=32_768,
        dtype="bfloat16",
    )
    return Size(model, random_task(model.vocab_size, prompt_length=128, response_length=512), minibatches=8)


SIZES = {"medium": medium, "addition": addition, "qwen2.5-0.5b": qwen}


def tiny(size: Size) -> Size:
    """The same structure at a size that only shows that it runs."""
    widths = dict(vocab_size=16, hidden_size=8, intermediate_size=16, head_dim=4)
    model = dataclasses.replace(size.model, **widths, num_layers=1, num_heads=2, num_key_value_heads=1)
    return size._replace(model=model, task=random_task(16, 3, 4), num_prompts=2, group_size=2, minibatches=1)


class Timed(NamedTuple):
    """A compiled program.

    Attributes:
        call: without arguments, ends when the result is there and returns it.
        num_bytes: of arguments, results and temporaries together.
    """

    call: Callable[[], Any]
    num_bytes: int


def compiled(function: Callable, *arguments: Any, donate: bool = False) -> Timed:
    """`function` compiled for its arguments.

    Args:
        function: what is timed.
        *arguments: what each call gets.
        donate: the first argument is a state that calls carry on, with the first result in its place: as in training,
            nobody else may use it, so that its memory can be used again.
    """
    executable = jax.jit(function, donate_argnums=0 if donate else ()).lower(*arguments).compile()
    memory = executable.memory_analysis()
    num_bytes = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes

    def call():
        nonlocal arguments
        result = jax.block_until_ready(executable(*arguments))
        if donate:
            arguments = (result[0], *arguments[1:])
        return result

    return Timed(call, num_bytes - memory.alias_size_in_bytes)


def make_optimizer() -> optax.GradientTransformation:
    """The experiments' optimizer; its steps are so small that the policy stays random."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-6))


def make_learner(size: Size, epochs: int = 1) -> Learner:
    """GRPO from a random policy."""
    return grpo.learner(size.model, make_optimizer(), epochs=epochs, minibatches=size.minibatches, remat=size.remat)


def read_prompts(size: Size, params: Any, problems: Problem) -> transformer.GenerationState:
    """Each prompt once, for all responses to it: what `rollout` begins with."""
    capacity = size.task.prompt_length + size.task.response_length
    state = transformer.prefill(size.model, params, problems.prompt, where=problems.where, capacity=capacity)
    return transformer.repeat(state, size.group_size)


def decode(size: Size, params: Any, state: transformer.GenerationState, key: Any, temperature: Any):
    """Sampled responses with their log-probabilities."""
    return transformer.decode(
        key,
        size.model,
        params,
        state,
        max_new_tokens=size.task.response_length,
        temperature=temperature,
        stop_tokens=(size.task.end_token,),
        pad_token=size.task.pad_token,
    )[0]


def bare_decode(size: Size, params: Any, state: transformer.GenerationState, token: Any) -> jax.Array:
    """Logits after given tokens `[sequence, time]` that follow what has been read, by one step each."""
    params = transformer.unstack(params)

    def step(state, token):
        logits, cache = transformer.apply(size.model, params, token[:, None], cache=state.cache)
        return transformer.GenerationState(cache, logits[:, 0]), None

    return jax.lax.scan(step, state, token.T)[0].logits


def bare_gradient(size: Size, params: Any, prompt: Any, token: Any) -> Any:
    """Gradient of the mean negative log-likelihood of responses `[sequence, time]`, from all logits at once."""

    def objective(params):
        whole = jnp.concatenate([prompt, token], axis=1)
        x, _ = transformer.hidden(size.model, params, whole[:, :-1], remat=size.remat)
        logits = transformer.unembed(size.model, params, x[:, prompt.shape[1] - 1 :])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, token))

    return jax.grad(objective)(params)


def bare_step(size: Size, params_and_state: Any, prompt: Any, token: Any) -> Any:
    """A step of clipping and AdamW by the bare gradient."""
    params, state = params_and_state
    changes, state = make_optimizer().update(bare_gradient(size, params, prompt, token), state, params)
    return ((optax.apply_updates(params, changes), state),)


def make_program(size: Size) -> program.Program:
    """Training at that size."""
    groups = sources.responses(size.task, size.model, num_prompts=size.num_prompts, group_size=size.group_size)
    return program.make_program(groups, make_learner(size))


def programs(size: Size, learner_state: grpo.GRPOState) -> dict[str, Timed]:
    """The parts of an update, and the bare ones."""
    model, task = size.model, size.task
    params = learner_state.params["policy"]
    problems = jax.jit(lambda key: responses.draw(key, task, "train", size.num_prompts))(jax.random.key(1))
    key, temperature = jax.random.key(2), jnp.asarray(1.0)
    state = jax.jit(functools.partial(read_prompts, size))(params, problems)

    def roll(params, problems, key, temperature):
        return responses.rollout(
            key, model, params, task, problems, group_size=size.group_size, temperature=temperature
        )

    def sample(params, problems, key, temperature):
        return decode(size, params, read_prompts(size, params, problems), key, temperature)

    rollout = compiled(roll, params, problems, key, temperature)
    batch = rollout.call()
    flat = lambda x: x.reshape(-1, x.shape[-1])
    few = slice(size.sequences // size.minibatches)
    prompt, token = flat(batch.prompt)[few], flat(batch.token)[few]
    with_moments = jax.tree.map(jnp.copy, params), jax.jit(make_optimizer().init)(params)

    def learn(epochs):
        return compiled(
            make_learner(size, epochs).update, jax.tree.map(jnp.copy, learner_state), batch, key, donate=True
        )

    return {
        "rollout": rollout,
        "sampling": compiled(sample, params, problems, key, temperature),
        "decode": compiled(functools.partial(decode, size), params, state, key, temperature),
        "bare_decode": compiled(functools.partial(bare_decode, size), params, state, flat(batch.token)),
        "score": compiled(functools.partial(grpo.score, model), params, batch),
        "learning": learn(1),
        "learning_longer": learn(1 + MORE_PASSES),
        "bare_gradient": compiled(functools.partial(bare_gradient, size), params, prompt, token),
        "bare_step": compiled(functools.partial(bare_step, size), with_moments, prompt, token, donate=True),
    }


def num_parameters(size: Size) -> int:
    """Numbers in the policy's parameters."""
    shapes = jax.eval_shape(lambda: transformer.init(jax.random.key(0), size.model))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def measure(size: Size, repetitions: int) -> dict[str, Any]:
    """Times, memory, and the ratios and shares that follow from them."""
    training = make_program(size)
    init = jax.jit(training.init)
    update = compiled(training.step, init(jax.random.key(0)), donate=True)
    update.call()
    # Of whole updates alone: nothing else has been allocated yet.
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    timed = {"update": update} | programs(size, init(jax.random.key(0)).learner)
    times = timing.alternate({name: program.call for name, program in timed.items()}, repetitions)

    pairs = zip(times["learning_longer"], times["learning"], strict=True)
    times["gradient_step"] = [(longer - once) / (MORE_PASSES * size.minibatches) for longer, once in pairs]
    median = {name: statistics.median(values) for name, values in times.items()}
    of_update = lambda name: timing.median_ratio(times[name], times["update"])
    shares = {
        "sampling": of_update("rollout"),
        "score": of_update("score"),
        "gradient_steps": size.minibatches * of_update("gradient_step"),
    }
    tokens = size.sequences * size.task.response_length
    return {
        "settings": size.settings,
        "parameters": num_parameters(size),
        "ratios": {
            "sampling": timing.median_ratio(times["bare_decode"], times["sampling"]),
            "decode": timing.median_ratio(times["bare_decode"], times["decode"]),
            "learning": timing.median_ratio(times["bare_gradient"], times["gradient_step"]),
            "learning_with_step": timing.median_ratio(times["bare_step"], times["gradient_step"]),
        },
        "shares": shares | {"rest": 1 - sum(shares.values())},
        "new_tokens_per_second": {name: tokens / median[name] for name in ("update", "sampling", "bare_decode")}
        | {name: tokens / size.minibatches / median[name] for name in ("gradient_step", "bare_gradient")},
        "bytes": {name: program.num_bytes for name, program in timed.items()},
        "peak_bytes": peak,
        "median_seconds": median,
        "seconds": times,
    }


def report(name: str, result: dict[str, Any]) -> None:
    """Print one size's result."""
    speed, ratios = result["new_tokens_per_second"], result["ratios"]
    timing.show(
        f"{name}: {result['parameters']:,} parameters",
        ("program", "milliseconds", "new tokens/s", "megabytes"),
        [
            (
                program,
                f"{1e3 * seconds:,.1f}",
                f"{speed[program]:,.0f}" if program in speed else "",
                f"{result['bytes'][program] / 1e6:,.0f}" if program in result["bytes"] else "",
            )
            for program, seconds in result["median_seconds"].items()
        ],
    )
    print(f"sampling / bare decode steps: {ratios['sampling']:.3f} (target: {TARGETS['sampling']})", end="; ")
    print(f"prompts already read: {ratios['decode']:.3f}")
    print(f"bare gradient / gradient step: {ratios['learning']:.3f} (target: {TARGETS['learning']})", end="; ")
    print(f"bare gradient with AdamW / gradient step: {ratios['learning_with_step']:.3f}")
    print("an update: " + ", ".join(f"{part} {share:.1%}" for part, share in result["shares"].items()))
    if result["peak_bytes"] is not None:
        print(f"peak of what updates allocate on the device: {result['peak_bytes'] / 1e9:.2f} GB")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        nargs="+",
        choices=list(SIZES),
        default=["medium", "addition"],
        help="sizes; the device's peak memory is right for the first only",
    )
    parser.add_argument("--num-prompts", type=int, help="of an update")
    parser.add_argument("--group-size", type=int, help="responses to each")
    parser.add_argument("--minibatches", type=int, help="gradient steps of a pass")
    parser.add_argument("--remat", action="store_true", default=None, help="recompute layers in the backward pass")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    chosen = {name: getattr(options, name) for name in ("num_prompts", "group_size", "minibatches", "remat")}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    results = {}
    for name in options.model[:1] if options.quick else options.model:
        size = tiny(SIZES[name]()) if options.quick else SIZES[name]()._replace(**chosen)
        results[name] = measure(size, 1 if options.quick else options.repetitions)
        report(name, results[name])
    record = {"targets": TARGETS, "results": results}
    if not options.quick:
        print(f"written: {timing.save('tokens', record).name}")
    return record


if __name__ == "__main__":
    main()
