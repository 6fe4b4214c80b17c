"""A wheel in a fresh environment, in a folder that has an `envs/` and an `experiments/` of its own."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """An environment with nothing but the wheel, which borrows the libraries of this one; and a research folder."""
    base = tmp_path_factory.mktemp("wheel")
    source = base / "source"
    source.mkdir()
    # A copy, since a build leaves folders behind, and two at once would meet in them.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("rlx", "envs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(base), str(source)]
    subprocess.run(wheel, check=True, capture_output=True, timeout=300)
    (built,) = base.glob("rlx-*.whl")
    venv.create(base / "env", with_pip=True)
    python = base / "env" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(built)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    (site,) = (base / "env" / "lib").glob("python*/site-packages")
    import jax

    # Libraries only: a path file is not read for path files of its own, so this checkout is not on the path.
    (site / "libraries.pth").write_text(f"{Path(jax.__file__).parents[1]}\n")
    research = base / "research"
    for name in ("envs", "experiments"):
        (research / name).mkdir(parents=True)
        (research / name / "__init__.py").write_text("raise ImportError('this is not the one you look for')\n")
    return python, site, research


def run(elsewhere, *command: str) -> str:
    python, _, research = elsewhere
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *command], cwd=research, env=variables, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_only_rlx_is_installed(elsewhere):
    _, site, _ = elsewhere
    names = {path.name for path in site.iterdir()} - {"libraries.pth", "__pycache__", "_distutils_hack"}
    ours = {name for name in names if not re.match(r"(pip|setuptools|distutils|pkg_resources)", name)}
    assert {name for name in ours if not name.endswith(".dist-info")} == {"rlx"}, ours
    for name in ("py.typed", "envs/registry.py", "envs/adapters/brax.py", "recipes/presets/ppo.py", "cli/train.py"):
        assert (site / "rlx" / name).is_file(), name
    assert not (site / "rlx" / "envs").is_symlink()


def test_it_is_the_wheel_that_is_imported(elsewhere):
    _, site, _ = elsewhere
    out = run(elsewhere, "-c", "import rlx, rlx.envs; print(rlx.__file__); print(rlx.envs.__file__)")
    assert all(line.startswith(str(site)) for line in out.split()), out


def test_the_command_trains_and_plays(elsewhere, tmp_path):
    command = ["-m", "rlx.cli", "train", "ppo", "--env", "rlx:pendulum", "--seeds", "2", "--total-steps", "256"]
    sizes = ["--num-envs", "4", "--unroll-length", "8", "--num-minibatches", "2", "--hidden-sizes", "8"]
    run(elsewhere, *command, *sizes, "--eval-episodes", "2", "--run-dir", str(tmp_path / "run"))
    assert (tmp_path / "run" / "report.html").exists()
    program = f"import rlx; policy = rlx.load({str(tmp_path / 'run')!r}); print(policy([0.0, 1.0, 0.0]).shape)"
    assert run(elsewhere, "-c", program).strip() == "(1,)"


def test_the_snippets_of_the_readme_run(elsewhere):
    """With a budget of one update, since it is the wiring that is asked for."""
    readme = (ROOT / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert snippets
    shrink = (
        "import rlx.recipes.wiring as _r\n"
        "_old = _r.split_arguments\n"
        "def _split(recipe, arguments):\n"
        "    values, slots = _old(recipe, arguments)\n"
        "    small = dict(total_steps=64, num_envs=4, unroll_length=8, num_minibatches=2, update_epochs=1)\n"
        "    return values | small, slots\n"
        "_r.split_arguments = _split\n"
    )
    run(elsewhere, "-c", shrink + "\n".join(snippets))
