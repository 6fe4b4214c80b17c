"""Session-wide set-up: run-time checked array annotations, a compilation cache that outlives the run, fixtures."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

CACHE = Path(__file__).parent.parent / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jaxtyping.install_import_hook("rlx", "beartype.beartype")

# Compilation makes the first example slow, and a suite that gates submissions must not draw new examples each time.
hypothesis.settings.register_profile("rlx", deadline=None, derandomize=True, max_examples=30)
hypothesis.settings.load_profile("rlx")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Runs the test in double precision, for finite differences and exact oracles."""
    with jax.enable_x64(True):
        yield


@contextmanager
def _unannotated() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def unannotated() -> AbstractContextManager[None]:
    """A context in which annotations are not checked, so that a function's own errors are seen as users see them."""
    return _unannotated()
