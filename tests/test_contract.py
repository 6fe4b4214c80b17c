"""What every public function of the function floor promises, checked for each of them.

The functions are found by walking the package, and called as `contract/examples` says; one without an
entry there fails. A check that does not apply to a function is named there with its reason.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import catalog
from tests.contract.example import SHAPE, Example
from tests.contract.examples import EXAMPLES

FLOATING = (jnp.bfloat16, jnp.float32, jnp.float64)
FUNCTIONS = catalog.public_functions()


# How a function is called.


def example_of(name: str, check: str) -> Example:
    example = EXAMPLES[name]
    if check in example.skips:
        pytest.skip(example.skips[check])
    return example


def signature(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(FUNCTIONS[name]).parameters)


def callable_of(name: str) -> Callable:
    """The function; or of a controller, two updates as a function of the data and of its options."""
    function, example = FUNCTIONS[name], EXAMPLES[name]
    if example.init is None:
        return function

    def two_updates(init: Any, **keywords: Any) -> tuple[Any, Any]:
        options = {key: keywords.pop(key) for key in list(keywords) if key in signature(name)}
        controller = function(**options)
        update = controller.update
        if isinstance(controller, optax.GradientTransformation):  # whose state comes second
            update = lambda state, updates, params=None: controller.update(updates, state, params)
        _, state = update(controller.init(init), **keywords)
        return update(state, **keywords)

    return two_updates


def has_mask(name: str, options: dict) -> bool:
    function, example = FUNCTIONS[name], EXAMPLES[name]
    return "where" in inspect.signature(function(**options).update if example.init else function).parameters


def sample(name: str, options: dict, seed: int = 0) -> dict[str, Any]:
    """Arguments of a call, with a mask that has a False, a True and, of sequences, an empty row."""
    rng, example = np.random.default_rng(seed), EXAMPLES[name]
    samplers = dict(example.arguments) | ({"init": example.init} if example.init else {})
    data = {key: sampler(rng) for key, sampler in samplers.items()}
    if has_mask(name, options):
        mask = rng.random(example.mask) < 0.6
        mask[0], mask[-1] = True, False
        data["where"] = mask
    return jax.tree.map(jnp.asarray, data)


def is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def logarithms(name: str) -> list[str]:
    """Arguments that are logarithms of probabilities or weights."""
    return [key for key in EXAMPLES[name].arguments if key.endswith(("log_prob", "logits", "log_weight"))]


def cast(data: dict[str, Any], dtype: Any) -> dict[str, Any]:
    return jax.tree.map(lambda x: x.astype(dtype) if is_floating(x) else x, data)


def documented(name: str) -> dict[str, str]:
    """Description by argument, from the Args section."""
    section = re.search(r"Args:\n(.*?)(?:\n\s*\n|\Z)", inspect.getdoc(FUNCTIONS[name]), re.S)
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1] + "\n", re.S | re.M) if section else []
    return {argument: " ".join(text.split()) for argument, text in entries}


def numeric(name: str, options: dict) -> dict[str, float]:
    """Hyperparameters that can be swept, with their values in this case."""
    values = {key: p.default for key, p in signature(name).items() if p.default is not p.empty} | options
    static = {key for key, text in documented(name).items() if text.startswith("static")}
    return {k: float(v) for k, v in values.items() if k not in static and type(v) in (int, float)}


def floating_leaves(tree: Any) -> list[jax.Array]:
    return [x for x in jax.tree.leaves(tree) if is_floating(x)]


def split(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that have a gradient, and the others."""
    inexact = {k for k, v in data.items() if len(floating_leaves(v)) == len(jax.tree.leaves(v))}
    return {k: data[k] for k in inexact}, {k: v for k, v in data.items() if k not in inexact}


def value_and_gradient(function: Callable, options: dict) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """The function together with the gradient of its summed results in every floating argument."""

    def both(data: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        inexact, rest = split(data)

        def total(inexact: dict[str, Any]) -> tuple[jax.Array, Any]:
            result = function(**inexact, **rest, **options)
            return sum((jnp.sum(x) for x in floating_leaves(result)), jnp.zeros(())), result

        slopes, result = jax.grad(total, has_aux=True)(inexact)
        return result, slopes

    return both


def assert_close(actual: Any, desired: Any) -> None:
    compare = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
    jax.tree.map(compare, actual, desired)


def stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


# What is checked of which function.


def cases(applies: Callable[[str, dict], bool] = lambda name, options: True) -> pytest.MarkDecorator:
    """Parametrizes a check over the examples and their variants, as far as it applies."""
    calls = [
        (name, {**example.hyperparameters, **variant}, f"{name}-{variant or 'default'}")
        for name, example in EXAMPLES.items()
        if name in FUNCTIONS
        for variant in example.variants
    ]
    return pytest.mark.parametrize(
        "name, options", [pytest.param(*call, id=id) for *call, id in calls if applies(*call)]
    )


every_function = pytest.mark.parametrize("name", sorted(FUNCTIONS))
every_case = cases()
every_masked_case = cases(has_mask)
every_logarithmic_case = cases(lambda name, options: bool(logarithms(name)))


# The checks.


def test_walk_finds_the_floor() -> None:
    assert {"rlx.losses.policy.clipped_surrogate", "rlx.returns.gae", "rlx.reduce.mean"} <= FUNCTIONS.keys()


@every_function
def test_has_an_example(name: str) -> None:
    assert name in EXAMPLES, f"add an entry for {name} to a module of tests/contract/examples"


def test_every_example_is_of_a_function() -> None:
    assert EXAMPLES.keys() <= FUNCTIONS.keys()


@every_function
def test_docstring_is_complete(name: str) -> None:
    doc = inspect.getdoc(FUNCTIONS[name]) or ""
    summary, _, rest = doc.partition("\n\n")
    formula = rest.partition("Args:\n")[0]
    assert "\n" not in summary and summary.endswith("."), "the summary is one line that ends in a period"
    assert re.search("[=≈←]|Mean of", formula), "a formula comes before Args"
    for section in ("Args", "Returns", "References"):
        assert re.search(rf"^{section}:\n    \S", doc, re.M), f"{section} is missing"
    assert documented(name).keys() == signature(name).keys(), "Args lists every argument and nothing else"


@every_function
def test_hyperparameters_are_keyword_only(name: str) -> None:
    for argument, parameter in signature(name).items():
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, argument


@every_case
def test_jit_equals_eager(name: str, options: dict) -> None:
    example_of(name, "jit")
    function, data = callable_of(name), sample(name, options)
    call = functools.partial(function, **options)
    assert_close(jax.jit(call)(**data), call(**data))


@every_case
def test_vmap_equals_a_loop(name: str, options: dict) -> None:
    example_of(name, "vmap")
    call = functools.partial(callable_of(name), **options)
    batch = [sample(name, options, seed) for seed in range(3)]
    together = jax.jit(jax.vmap(lambda data: call(**data)))(stack(batch))
    assert_close(together, stack([call(**data) for data in batch]))


@every_case
def test_hyperparameters_can_be_swept(name: str, options: dict) -> None:
    example_of(name, "sweep")
    function, data = callable_of(name), sample(name, options)
    for key, value in numeric(name, options).items():
        values = (1.5, 3.0) if np.isinf(value) else (0.75 * value, 1.25 * value)
        call = lambda v: function(**data, **{**options, key: v})
        assert_close(jax.jit(jax.vmap(call))(jnp.array(values)), stack([call(v) for v in values]))


@every_masked_case
def test_masked_elements_do_not_exist(name: str, options: dict) -> None:
    example_of(name, "mask")
    evaluate, data = value_and_gradient(callable_of(name), options), sample(name, options)
    mask = data["where"]

    def has_mask_axes(x: jax.Array) -> bool:
        return x.shape[: mask.ndim] == mask.shape

    def hidden(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(~mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)

    def assert_clean(x: jax.Array, what: str) -> None:
        assert np.isfinite(x).all(), f"{what} is not finite"
        if has_mask_axes(x):
            assert not np.any(np.where(hidden(x), x, 0)), f"{what} is not 0 where masked"

    # Uncompiled for NaN: XLA turns a product with a mask into a selection, and so hides that mistake.
    compiled = jax.jit(evaluate)
    clean, _ = compiled(data)
    for poison, run in ((jnp.nan, evaluate), (jnp.inf, compiled), (-jnp.inf, compiled)):
        poisoned = lambda x: jnp.where(hidden(x), poison, x) if has_mask_axes(x) and is_floating(x) else x
        result, slopes = run(jax.tree.map(poisoned, data))
        assert_close(result, clean)
        jax.tree.map(lambda x: assert_clean(x, f"the value under {poison}"), result)
        for argument, slope in slopes.items():
            jax.tree.map(lambda x: assert_clean(x, f"the gradient in {argument} under {poison}"), slope)


@every_case
def test_gradients_stop_where_documented(name: str, options: dict) -> None:
    example_of(name, "gradient")
    _, slopes = jax.jit(value_and_gradient(callable_of(name), options))(sample(name, options))
    returns, described = inspect.getdoc(FUNCTIONS[name]).partition("Returns:")[2], documented(name)
    for argument, slope in slopes.items():
        leaves, text = jax.tree.leaves(slope), described.get(argument, "")
        assert all(np.isfinite(x).all() for x in leaves)
        if "a constant" in text or "without gradient" in " ".join(returns.split()):
            assert not any(np.any(x) for x in leaves), f"{argument} is documented as constant"
        if "carries the gradient" in text:
            assert any(np.any(x) for x in leaves), f"{argument} is documented to carry the gradient"


@every_logarithmic_case
def test_gradients_are_finite_at_extreme_log_ratios(name: str, options: dict) -> None:
    example_of(name, "extreme")
    evaluate, data = jax.jit(value_and_gradient(callable_of(name), options)), sample(name, options)
    ends = jnp.where(jnp.arange(np.prod(SHAPE)).reshape(SHAPE) % 2 == 0, 0.0, -80.0)
    for extreme in logarithms(name):
        others = {key: -80.0 - ends for key in logarithms(name)}
        for x in jax.tree.leaves(evaluate({**data, **others, extreme: ends})):
            assert np.isfinite(x).all(), f"{extreme} against the others"


@every_case
@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.__name__)
def test_dtype_is_kept(name: str, options: dict, dtype: Any) -> None:
    example = example_of(name, "dtype")
    with jax.enable_x64(True):
        data = cast(sample(name, options), dtype)
        swept = {key: jnp.float32(value) for key, value in numeric(name, options).items()}
        for traced in ({}, swept):
            call = functools.partial(callable_of(name), **{k: v for k, v in options.items() if k not in traced})
            result = jax.eval_shape(lambda data, traced: call(**data, **traced), data, traced)
            for x in jax.tree.leaves(result[0] if example.init else result):
                assert x.dtype == dtype


def primitives(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


@every_case
def test_stays_on_the_device(name: str, options: dict) -> None:
    example_of(name, "jit")
    call, data = functools.partial(callable_of(name), **options), sample(name, options)
    jaxpr = jax.make_jaxpr(lambda data: call(**data))(data)
    assert not jaxpr.effects
    assert not [primitive for primitive in primitives(jaxpr.jaxpr) if "callback" in primitive]


@every_function
def test_wrong_arrays_are_named(name: str, unannotated: Any) -> None:
    example = example_of(name, "errors")
    call = functools.partial(callable_of(name), **example.hyperparameters)
    data = sample(name, dict(example.hyperparameters))
    arrays = [key for key in example.arguments if isinstance(data[key], jax.Array) and is_floating(data[key])]
    with unannotated:
        for key in arrays:
            with pytest.raises(ValueError, match=rf"\b{key}\b.*int32"):
                call(**{**data, key: jnp.ones(data[key].shape, jnp.int32)})
        if "where" in data:
            with pytest.raises(ValueError, match="where must be a boolean mask.*float32"):
                call(**{**data, "where": data["where"].astype(jnp.float32)})
        for key in arrays if len(arrays) > 1 else ():
            with pytest.raises(ValueError, match=rf"do not broadcast.*\b{key}\b"):
                call(**{**data, key: jnp.concatenate([data[key]] * 2)})
