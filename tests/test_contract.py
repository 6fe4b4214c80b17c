"""What every public function of the function floor promises, checked for each of them.

The functions are found by walking the package, and called as `contract/examples` says; one without an
entry there fails. A check that does not apply to a function is named there with its reason.
"""

import dataclasses
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
from tests.contract.example import Example
from tests.contract.examples import BY_SLOT, EXAMPLES

pytestmark = pytest.mark.long(minutes=6)

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


def is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def shapes(data: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Shapes and dtypes of the data, with another dtype of what is floating."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype if is_floating(x) else x.dtype), data)


def documented(name: str) -> dict[str, str]:
    """Description by argument, from the Args section."""
    section = re.search(r"Args:\n(.*?)(?:\n\s*\n|\Z)", inspect.getdoc(FUNCTIONS[name]), re.S)
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1] + "\n", re.S | re.M) if section else []
    return {argument: " ".join(text.split()) for argument, text in entries}


def floating_leaves(tree: Any) -> list[jax.Array]:
    return [x for x in jax.tree.leaves(tree) if is_floating(x)]


def split(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that have a gradient, and the others."""
    inexact = {k for k, v in data.items() if len(floating_leaves(v)) == len(jax.tree.leaves(v))}
    return {k: data[k] for k in inexact}, {k: v for k, v in data.items() if k not in inexact}


def assert_close(actual: Any, desired: Any) -> None:
    compare = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
    jax.tree.map(compare, actual, desired)


def stack(trees: list[Any]) -> Any:
    """One batch of several calls' data; by NumPy where it can, which compiles nothing."""
    is_key = lambda x: jnp.issubdtype(jnp.asarray(x).dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda *leaves: (jnp if is_key(leaves[0]) else np).stack(leaves), *trees)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One function with one choice of its options, and what several checks want to know of it.

    Almost all the time goes into compilation. So all the data that the checks need are rows of one batch, and one
    compiled program gives value and gradient of them all: it is the function under `jit`, `vmap` and `grad` at once.
    """

    name: str
    options: dict[str, Any]

    @property
    def example(self) -> Example:
        return EXAMPLES[self.name]

    @functools.cached_property
    def call(self) -> Callable:
        return functools.partial(callable_of(self.name), **self.options)

    @functools.cached_property
    def has_mask(self) -> bool:
        function = FUNCTIONS[self.name]
        return (
            "where" in inspect.signature(function(**self.options).update if self.example.init else function).parameters
        )

    @functools.cached_property
    def logarithms(self) -> list[str]:
        """Arguments that are logarithms of probabilities or weights."""
        return [key for key in self.example.arguments if key.endswith(("log_prob", "logits", "log_weight"))]

    @functools.cached_property
    def numeric(self) -> dict[str, float]:
        """Hyperparameters that can be swept, with their values in this case."""
        values = {key: p.default for key, p in signature(self.name).items() if p.default is not p.empty} | self.options
        static = {key for key, text in documented(self.name).items() if text.startswith("static")}
        return {k: float(v) for k, v in values.items() if k not in static and type(v) in (int, float)}

    def sample(self, seed: int = 0) -> dict[str, Any]:
        """Arguments of a call, with a mask that has a False, a True and, of sequences, an empty row."""
        rng, example = np.random.default_rng(seed), self.example
        samplers = dict(example.arguments) | ({"init": example.init} if example.init else {})
        data = {key: sampler(rng) for key, sampler in samplers.items()}
        if self.has_mask:
            mask = rng.random(example.mask) < 0.6
            mask[0], mask[-1] = True, False
            data["where"] = mask
        return jax.tree.map(jnp.asarray, data)

    def has_mask_axes(self, x: jax.Array) -> bool:
        return x.shape[: len(self.example.mask)] == self.example.mask

    def hidden(self, x: jax.Array, mask: jax.Array) -> np.ndarray:
        return np.broadcast_to(~np.asarray(mask).reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)

    def poisoned(self, poison: float) -> dict[str, Any]:
        """A sample whose masked elements are NaN or infinite."""
        data = self.sample()
        spoil = lambda x: jnp.asarray(np.where(self.hidden(x, data["where"]), np.float32(poison), x))
        return jax.tree.map(lambda x: spoil(x) if self.has_mask_axes(x) and is_floating(x) else x, data)

    def extreme(self, argument: str) -> dict[str, Any]:
        """A sample with log-ratios of ±80 between one of the logarithms and all the others."""
        data = self.sample()
        ends = {key: np.where(np.arange(data[key].size) % 2 == 0, 0, np.float32(-80)) for key in self.logarithms}
        ends = {key: x if key == argument else -80.0 - x for key, x in ends.items()}
        return data | {key: x.reshape(data[key].shape) for key, x in ends.items()}

    def value_and_gradient(self, data: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The result together with the gradient of its sum in every floating argument."""
        inexact, rest = split(data)

        def total(inexact: dict[str, Any]) -> tuple[jax.Array, Any]:
            result = self.call(**inexact, **rest)
            return sum((jnp.sum(x) for x in floating_leaves(result)), jnp.zeros(())), result

        slopes, result = jax.grad(total, has_aux=True)(inexact)
        return result, slopes

    @functools.cached_property
    def compiled(self) -> dict[Any, tuple[Any, dict[str, Any]]]:
        """Value and gradient of each row, by the seed of its sample, its poison, or its extreme argument."""
        rows = {seed: self.sample(seed) for seed in range(3)}
        if self.has_mask:
            rows |= {poison: self.poisoned(poison) for poison in (np.inf, -np.inf)}
        if "extreme" not in self.example.skips:
            rows |= {argument: self.extreme(argument) for argument in self.logarithms}
        if "vmap" in self.example.skips:
            return {0: jax.jit(self.value_and_gradient)(rows[0])}
        together = jax.device_get(jax.jit(jax.vmap(self.value_and_gradient))(stack(list(rows.values()))))
        return {row: jax.tree.map(lambda x: x[index], together) for index, row in enumerate(rows)}

    def eager(self, seed: int = 0, **options: float) -> Any:
        """The result of a sample, primitive by primitive: a loop would be compiled anew at every call."""
        with jax.disable_jit():
            return self.call(**self.sample(seed), **options)


# What is checked of which function.

CASES = {
    f"{name}-{variant or 'default'}": Case(name, {**example.hyperparameters, **variant})
    for name, example in EXAMPLES.items()
    if name in FUNCTIONS
    for variant in example.variants
}


def cases(applies: Callable[[Case], Any] = lambda case: True) -> pytest.MarkDecorator:
    """Parametrizes a check over the examples and their variants, as far as it applies.

    Of each function the first of them is checked by `make test`, the others by `make test-slow`.
    """
    chosen = {id: case for id, case in CASES.items() if applies(case)}
    first = {case.name: id for id, case in reversed(chosen.items())}
    later = lambda id, case: () if first[case.name] == id else pytest.mark.slow
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=id, marks=later(id, case)) for id, case in chosen.items()]
    )


every_function = pytest.mark.parametrize("name", sorted(FUNCTIONS))
every_case = cases()
every_masked_case = cases(lambda case: case.has_mask)
every_logarithmic_case = cases(lambda case: case.logarithms)


# The checks.


def test_walk_finds_the_floor() -> None:
    assert {"rlx.losses.policy.clipped_surrogate", "rlx.returns.gae", "rlx.reduce.mean"} <= FUNCTIONS.keys()


@every_function
def test_has_an_example(name: str) -> None:
    assert name in EXAMPLES, f"add an entry for {name} to the module of its slot in tests/contract/examples"


def test_every_example_is_of_a_function() -> None:
    assert EXAMPLES.keys() <= FUNCTIONS.keys()


@pytest.mark.parametrize("slot", BY_SLOT)
def test_an_example_lies_under_the_slot_of_its_function(slot: str) -> None:
    assert BY_SLOT[slot]
    assert {name.rpartition(".")[0] for name in BY_SLOT[slot]} == {f"rlx.{slot}"}


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
def test_compiled_and_batched_equals_eager(case: Case) -> None:
    example_of(case.name, "jit")
    for seed in set(range(3)) & case.compiled.keys():
        assert_close(case.compiled[seed][0], case.eager(seed))


@every_case
def test_hyperparameters_can_be_swept(case: Case) -> None:
    example_of(case.name, "sweep")
    spread = lambda v: (1.5, 3.0) if np.isinf(v) else (0.75 * v, 1.25 * v)
    settings = [{key: spread(value)[i] for key, value in case.numeric.items()} for i in range(2)]
    if case.numeric:
        data = case.sample()
        sweep = jax.jit(jax.vmap(lambda setting: case.call(**data, **setting)))
        assert_close(sweep(stack(settings)), stack([case.eager(**setting) for setting in settings]))


@every_masked_case
def test_masked_elements_do_not_exist(case: Case) -> None:
    example_of(case.name, "mask")
    mask = case.sample()["where"]

    def assert_clean(x: jax.Array, what: str) -> None:
        assert np.isfinite(x).all(), f"{what} is not finite"
        if case.has_mask_axes(x):
            assert not np.any(np.where(case.hidden(x, mask), x, 0)), f"{what} is not 0 where masked"

    poisoned = {poison: case.compiled[poison] for poison in (np.inf, -np.inf)}
    # Primitive by primitive for NaN: XLA turns a product with a mask into a selection, and so hides that mistake.
    with jax.disable_jit():
        poisoned[np.nan] = case.value_and_gradient(case.poisoned(np.nan))
    for poison, (result, slopes) in poisoned.items():
        assert_close(result, case.compiled[0][0])
        jax.tree.map(lambda x: assert_clean(x, f"the value under {poison}"), result)
        for argument, slope in slopes.items():
            jax.tree.map(lambda x: assert_clean(x, f"the gradient in {argument} under {poison}"), slope)


@every_case
def test_gradients_stop_where_documented(case: Case) -> None:
    example_of(case.name, "gradient")
    _, slopes = case.compiled[0]
    returns, described = inspect.getdoc(FUNCTIONS[case.name]).partition("Returns:")[2], documented(case.name)
    for argument, slope in slopes.items():
        leaves, text = jax.tree.leaves(slope), described.get(argument, "")
        assert all(np.isfinite(x).all() for x in leaves)
        if "a constant" in text or "without gradient" in " ".join(returns.split()):
            assert not any(np.any(x) for x in leaves), f"{argument} is documented as constant"
        if "carries the gradient" in text:
            assert any(np.any(x) for x in leaves), f"{argument} is documented to carry the gradient"


@every_logarithmic_case
def test_gradients_are_finite_at_extreme_log_ratios(case: Case) -> None:
    example_of(case.name, "extreme")
    for argument in case.logarithms:
        for x in jax.tree.leaves(case.compiled[argument]):
            assert np.isfinite(x).all(), f"{argument} against the others"


@every_case
@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.__name__)
def test_dtype_is_kept(case: Case, dtype: Any) -> None:
    example = example_of(case.name, "dtype")
    with jax.enable_x64(True):
        data = shapes(case.sample(), dtype)
        swept = {key: jnp.float32(value) for key, value in case.numeric.items()}
        for traced in ({}, swept):
            result = jax.eval_shape(lambda data, traced: case.call(**data, **traced), data, traced)
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
def test_stays_on_the_device(case: Case) -> None:
    example_of(case.name, "jit")
    jaxpr = jax.make_jaxpr(lambda data: case.call(**data))(case.sample())
    assert not jaxpr.effects
    assert not [primitive for primitive in primitives(jaxpr.jaxpr) if "callback" in primitive]


@every_function
def test_wrong_arrays_are_named(name: str, unannotated: Any) -> None:
    example = example_of(name, "errors")
    case = Case(name, dict(example.hyperparameters))
    call, data = case.call, case.sample()
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
