"""Speed of the function library: elementwise losses against a copy of the same bytes, vocabulary-sized functions.

An elementwise loss should cost what its memory traffic costs. So the value and the gradient of 2^22 elements are timed
in turn with a bare copy of as many bytes, and the compiled program's own count of bytes is given beside. Functions of
logits are measured at [8, 512, 32768], beside `logsumexp` with its gradient, with the peak of their temporary memory.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import typing
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from rlx import catalog

ELEMENTS = 2**22
VOCABULARY_SHAPE = (8, 512, 32768)
LIMIT = 3.0

# What a function needs that its signature gives no default for.
REQUIRED = {"coefficient": 1.0, "temperature": 1.0, "log_normalizer": 0.0, "penalty": 0.0, "horizon": 8}


def elementwise() -> dict[str, Callable]:
    """Losses and regularizers all of whose arrays have one shape, by name."""
    slots = ("rlx.losses.", "rlx.regularizers.", "rlx.weighting.", "rlx.rewards.")
    return {
        name: function
        for name, function in catalog.public_functions().items()
        if name.startswith(slots) and _is_elementwise(function)
    }


def _arrays(function: Callable) -> list[str]:
    """Positional arguments that are floating arrays of the common shape."""
    hints = typing.get_type_hints(function, include_extras=True)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and getattr(hints[name], "dim_str", None) in ("*#batch", "*batch")
        and "float32" in getattr(hints[name], "dtypes", ())
    ]


def _is_elementwise(function: Callable) -> bool:
    parameters = inspect.signature(function).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    result = typing.get_type_hints(function, include_extras=True).get("return")
    return (
        getattr(result, "dim_str", None) == "*batch"
        and bool(_arrays(function))
        and set(needed) <= {*_arrays(function), *REQUIRED, "key"}
        and "axis" not in parameters
    )


def _inputs(function: Callable, size: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    sample = lambda name: rng.uniform(-2, -0.1, size) if "log_prob" in name else rng.uniform(0.1, 0.9, size)
    return {name: jnp.asarray(sample(name), jnp.float32) for name in _arrays(function)}


def _value_and_gradient(function: Callable, inputs: dict[str, jax.Array]) -> tuple[Callable, list[str]]:
    """Value per element, and gradient in the arguments that carry one, as one function of the inputs."""
    parameters = inspect.signature(function).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    options = {name: value for name, value in REQUIRED.items() if name in needed}
    if "key" in needed:
        options["key"] = jax.random.key(0)

    def both(inputs: dict[str, jax.Array], wanted: Sequence[str]) -> tuple[jax.Array, dict[str, jax.Array]]:
        def value(carriers):
            return function(**{**inputs, **carriers}, **options)

        result, pullback = jax.vjp(value, {name: inputs[name] for name in wanted})
        return result, pullback(jnp.ones_like(result))[0]

    # An argument that is held constant has no gradient that anyone would ask for.
    few = {name: x[:64] for name, x in inputs.items()}
    _, slopes = both(few, list(inputs))
    carriers = [name for name in inputs if np.any(slopes[name])]
    return lambda inputs: both(inputs, carriers), carriers


def measure_elementwise(name: str, function: Callable, size: int, repetitions: int) -> dict[str, Any]:
    """Time of value and gradient over the time of a copy of as many bytes, and the compiled program's bytes."""
    inputs = _inputs(function, size)
    both, carriers = _value_and_gradient(function, inputs)
    program = jax.jit(both).lower(inputs).compile()
    arrays = len(inputs) + 1 + len(carriers)
    # Arrays of the function's own size: the allocator treats larger ones differently.
    copied = [jnp.zeros(size) for _ in range(arrays // 2)] + [jnp.zeros(size // 2)] * (arrays % 2)
    copy = jax.jit(lambda xs: [x + 1 for x in xs]).lower(copied).compile()
    times = timing.alternate(
        {
            "function": lambda: jax.block_until_ready(program(inputs)),
            "copy": lambda: jax.block_until_ready(copy(copied)),
        },
        repetitions,
    )
    least = 4 * size * arrays
    return {
        "inputs": list(inputs),
        "gradients": carriers,
        "seconds": statistics.median(times["function"]),
        "copy_seconds": statistics.median(times["copy"]),
        "ratio": timing.median_ratio(times["function"], times["copy"]),
        "bytes_ratio": float(_cost(program).get("bytes accessed", np.nan)) / least,
        "temporary_bytes": program.memory_analysis().temp_size_in_bytes,
    }


def _cost(program: Any) -> dict[str, float]:
    cost = program.cost_analysis()
    return cost[0] if isinstance(cost, list) else cost or {}


def vocabulary() -> dict[str, Callable]:
    """Functions of logits and at most of actions, each as `f(logits, other_logits, action)`, by name."""
    functions = catalog.public_functions()
    calls: dict[str, Callable] = {"logsumexp": lambda logits, other, action: jax.nn.logsumexp(logits, axis=-1)}
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters
        needed = [p.name for p in parameters.values() if p.default is p.empty]
        roles = {key: _role(key, i) for i, key in enumerate(needed)}
        if not needed or not needed[0].endswith("logits") or None in roles.values():
            continue
        calls[name] = lambda *arrays, f=function, r=roles: f(
            **{key: REQUIRED[key] if role == "number" else arrays[role] for key, role in r.items()}
        )
    return calls


def _role(name: str, position: int) -> int | str | None:
    """Which of (logits, other logits, action) an argument is, or a number."""
    if name.endswith("logits"):
        return min(position, 1)
    if name == "action":
        return 2
    return "number" if name in REQUIRED or name == "threshold" else None


def measure_vocabulary(call: Callable, shape: tuple[int, ...], repetitions: int) -> dict[str, Any]:
    """Time and peak temporary memory of the summed value and its gradient in the logits."""
    keys = jax.random.split(jax.random.key(0), 3)
    logits, other = (3 * jax.random.normal(key, shape) for key in keys[:2])
    action = jax.random.randint(keys[2], shape[:-1], 0, shape[-1])

    def total(logits: jax.Array) -> jax.Array:
        result = call(logits, other, action)
        return sum(jnp.sum(x) for x in jax.tree.leaves(result) if jnp.issubdtype(x.dtype, jnp.floating))

    program = jax.jit(jax.value_and_grad(total)).lower(logits).compile()
    run = lambda: jax.block_until_ready(program(logits))
    run()
    times = [timing.seconds(run) for _ in range(repetitions)]
    one = 4 * int(np.prod(shape))
    return {
        "seconds": statistics.median(times),
        "temporary_over_logits": program.memory_analysis().temp_size_in_bytes / one,
        "bytes_over_logits": float(_cost(program).get("bytes accessed", np.nan)) / one,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="functions with this word in their name")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    size, shape = (ELEMENTS, VOCABULARY_SHAPE) if not options.quick else (2**10, (2, 4, 64))
    repetitions = 1 if options.quick else options.repetitions

    results = {
        name: measure_elementwise(name, function, size, repetitions)
        for name, function in elementwise().items()
        if options.only in name
    }
    timing.show(
        f"Value and gradient of {size:,} elements, over a copy of the same bytes",
        ("function", "arrays in", "gradients", "ms", "copy, ms", "ratio", "bytes / least"),
        [
            (
                name.removeprefix("rlx."),
                str(len(result["inputs"])),
                str(len(result["gradients"])),
                f"{1e3 * result['seconds']:.1f}",
                f"{1e3 * result['copy_seconds']:.1f}",
                f"{result['ratio']:.2f}",
                f"{result['bytes_ratio']:.2f}",
            )
            for name, result in sorted(results.items(), key=lambda item: -item[1]["ratio"])
        ],
    )
    logits = {
        name: measure_vocabulary(call, shape, min(repetitions, 2))
        for name, call in vocabulary().items()
        if options.only in name
    }
    timing.show(
        f"Value and gradient at {list(shape)}; memory in units of the logits",
        ("function", "s", "temporary memory", "bytes accessed"),
        [
            (
                name.removeprefix("rlx."),
                f"{result['seconds']:.2f}",
                f"{result['temporary_over_logits']:.2f}",
                f"{result['bytes_over_logits']:.1f}",
            )
            for name, result in sorted(logits.items(), key=lambda item: -item[1]["seconds"])
        ],
    )
    record = {"elements": size, "elementwise": results, "vocabulary_shape": shape, "vocabulary": logits}
    if not options.quick and not options.only:
        print(f"written: {timing.save('functions', record).name}")
    return record


if __name__ == "__main__":
    main()
