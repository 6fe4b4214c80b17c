"""`import rlx` costs nothing, and its parts are there when they are asked for."""

import subprocess
import sys

import pytest

import rlx


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_imports_no_jax_and_offers_its_parts():
    program = (
        "import sys, rlx\n"
        "assert not {'jax', 'numpy', 'flax', 'optax'} & set(sys.modules), sorted(sys.modules)\n"
        "assert {'losses', 'envs', 'make_train', 'load', '__version__'} <= set(dir(rlx))\n"
        "print(rlx.losses.policy.clip_cov.__name__, rlx.envs.make.__name__, rlx.make_train.__name__)"
    )
    assert run(program) == "clip_cov make make_train"


def test_the_version_is_the_metadatas():
    import importlib.metadata

    assert rlx.__version__ == importlib.metadata.version("rlx")


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'loses'"):
        rlx.loses  # noqa: B018


def test_recipes_and_settings_import_no_jax():
    program = (
        "import sys\nfrom rlx import recipes\n"
        "for name in [*recipes.RECIPES, *recipes.VARIANTS]: recipes.recipe(name)\n"
        "print([name for name in ('jax', 'brax', 'mujoco', 'flax') if name in sys.modules])"
    )
    assert run(program) == "[]"
