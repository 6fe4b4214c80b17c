"""Set-up of all tests: annotations checked at run time, a lasting compilation cache, fixtures."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

CACHE = Path(__file__).parent.parent / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

# Once JAX runs, no command of rlx makes a device of every core any more.
jax.devices()

# Environments and recipes are wiring, whose numbers may be traced where a field says `float`.
CHECKED = (
    *("algorithms", "bandits", "catalog", "controllers", "curriculum", "data", "diagnostics", "evolution", "losses"),
    *("policies", "reduce", "regularizers", "returns", "rewards", "tabular", "training", "transforms", "types"),
    "weighting",
)
jaxtyping.install_import_hook([f"rlx.{name}" for name in CHECKED], "beartype.beartype")

# The first example compiles; and a suite that gates submissions must not draw new examples each time.
hypothesis.settings.register_profile("rlx", deadline=None, derandomize=True, max_examples=30)
hypothesis.settings.load_profile("rlx")


def pytest_configure(config: pytest.Config) -> None:
    # xdist would start with the files of most tests, and end with those of few and long ones, one worker idle.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files marked `long` first, the longest before the others, so that parallel workers end together."""
    minutes = lambda item: max((mark.kwargs["minutes"] for mark in item.iter_markers("long")), default=0)
    items.sort(key=minutes, reverse=True)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Most tests run a program once, on a few numbers: optimizing it would take longer than it saves."""
    with compilation(quick=request.node.get_closest_marker("optimized") is None):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def full_compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of a test that is marked `optimized` in a file that is not."""
    if request.node.get_closest_marker("optimized") is None or request.node.parent.get_closest_marker("optimized"):
        yield
        return
    with compilation(quick=False):
        yield
    jax.config.update("jax_disable_most_optimizations", True)


@contextmanager
def compilation(*, quick: bool) -> Iterator[None]:
    """How programs are compiled, those of processes that a test starts included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", str(int(quick)))
        jax.config.update("jax_disable_most_optimizations", quick)
        yield


@pytest.fixture(autouse=True)
def forget_programs(kept=[0.0]) -> Iterator[None]:  # noqa: B006
    """A worker would otherwise keep the compiled programs of all its tests: several gigabytes."""
    yield
    # Measured from what was left the last time, since not all of it comes back.
    if resident_gigabytes() > kept[0] + 1.5:
        jax.clear_caches()
        kept[0] = resident_gigabytes()


def resident_gigabytes() -> float:
    """Memory of this process, where the system tells."""
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        return 0.0
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Runs the test in double precision, for finite differences and exact oracles."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def check_gradient(float64) -> Callable[..., None]:
    """Compares reverse-mode gradients with finite differences, in double precision."""

    def check(function: Callable, *args: jax.Array) -> None:
        # Finite differences are taken at NumPy arrays, which annotations of JAX arrays refuse.
        on_arrays = lambda *args: function(*map(jnp.asarray, args))
        check_grads(on_arrays, args, order=1, modes=["rev"])

    return check


@contextmanager
def _unannotated() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def unannotated() -> AbstractContextManager[None]:
    """A context in which annotations are not checked, so that errors are seen as users see them."""
    return _unannotated()
