import importlib.metadata
import json
import platform
import subprocess

import jax
import pytest

from rlx.training.provenance import command_line, git_state, installed_versions, numerics, provenance


def test_provenance_is_json_and_names_this_process():
    facts = provenance()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["versions"]["jax"] == jax.__version__
    assert facts["python"] == platform.python_version()
    assert len(facts["devices"]) == jax.device_count()
    assert facts["devices"][0].startswith("cpu:0")
    assert set(facts) == {"versions", "python", "platform", "devices", "git", "command"}


def test_versions_are_of_installed_packages_only():
    assert installed_versions(("numpy", "no-such-package")) == {"numpy": importlib.metadata.version("numpy")}


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "module.py").write_text("x = 1\n")
    git("init")
    git("add", "module.py")
    git("commit", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_git_state_of_a_checkout(checkout):
    root, commit = checkout
    assert git_state(root / "module.py") == {"commit": commit, "dirty": False}
    (root / "untracked.txt").write_text("run output\n")
    assert git_state(root / "module.py") == {"commit": commit, "dirty": False}
    (root / "module.py").write_text("x = 2\n")
    assert git_state(root / "module.py") == {"commit": commit, "dirty": True}


def test_a_package_installed_inside_another_checkout_has_no_git_state(checkout):
    root, _ = checkout
    installed = root / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "module.py").write_text("x = 1\n")
    assert git_state(installed / "module.py") is None


def test_command_line_is_what_a_person_types():
    assert command_line(
        ["/venv/bin/rlx", "train"], ["/venv/bin/python", "/venv/bin/rlx", "train"], "/venv/bin/python"
    ) == [
        "rlx",
        "train",
    ]
    module = ["/usr/bin/python3", "-m", "experiments", "train"]
    assert command_line(["/repo/experiments/__main__.py", "train"], module, "/usr/bin/python3") == [
        "python3",
        "-m",
        "experiments",
        "train",
    ]
    script = ["python", "experiments/ppo.py", "--seeds", "8"]
    assert command_line(script[1:], script, "/usr/bin/python") == script


def test_devices_of_a_cpu_are_counted_only_where_runs_share_a_program():
    """A run that was begun with one device is resumed with one of every core, unless `vmap` puts runs together."""
    alone, together = numerics(), numerics(mesh={"seed": 1, "env": 1})
    assert " x " not in alone["devices"] and alone["mesh"] == ""
    assert " x " in together["devices"] and together["mesh"] == "seed=1, env=1"
