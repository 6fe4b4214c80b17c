"""What a run was made with: package versions, devices, source revision and command line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = (
    "rlx",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "chex",
    "numpy",
    "numpyro",
    "orbax-checkpoint",
    "brax",
    "mujoco",
    "mujoco-mjx",
    "playground",
    "gymnax",
    "gymnasium",
)

SIMULATORS = {
    "brax": ("brax", "mujoco", "mujoco-mjx"),
    "playground": ("playground", "mujoco", "mujoco-mjx"),
    "gymnax": ("gymnax",),
    "gym": ("gymnasium", "mujoco"),
}
"""Packages that an environment runs in, by the suite that its name begins with."""

OF_EVERY_RUN = ("rlx", "jax", "jaxlib", "flax", "optax", "numpyro")
"""Packages whose other releases may give other numbers, whatever is trained."""


def numerics(env: str | None = None, mesh: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What a run's last bits depend on besides its config: devices, precision, and releases of what computes.

    Args:
        env: the run's environment, `suite:task`.
        mesh: how many devices lie along each axis, where that touches the numbers; None where every run goes through
            the program of a single run, and the number of a CPU's devices does not count.

    Returns:
        Name → value, ready for JSON. On a CPU the cores count: how XLA divides a sum among threads rounds it.
    """
    import jax

    kinds = [_kind(device) for device in jax.devices()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "devices": ", ".join(
            kind if mesh is None else f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)
        ),
        "mesh": ", ".join(f"{axis}={count}" for axis, count in (mesh or {}).items()),
        "cores": cores if jax.default_backend() == "cpu" else None,
        "machine": platform.machine(),
        "x64": bool(jax.config.jax_enable_x64),
        "matmul_precision": jax.config.jax_default_matmul_precision,
    } | installed_versions(OF_EVERY_RUN + SIMULATORS.get((env or "").partition(":")[0], ()))


def _kind(device: Any) -> str:
    """A device's kind; a CPU's by its model, since XLA compiles for that."""
    if device.platform != "cpu":
        return f"{device.platform} {device.device_kind}"
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"cpu {models[0]}" if models else "cpu"


def provenance() -> dict[str, Any]:
    """Describe the software and hardware of this process, ready for JSON.

    Returns:
        `versions`: package name → version, of those that are installed and bear on the numbers; `python`;
        `platform`; `devices`: one name per JAX device; `git`: `{"commit", "dirty"}` of the checkout that rlx
        was imported from, None where it was not imported from one; `command`: the arguments that repeat this
        process.
    """
    import jax

    return {
        "versions": installed_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()],
        "git": git_state(Path(__file__)),
        "command": command_line(sys.argv, sys.orig_argv, sys.executable),
    }


def installed_versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of the installed ones among `packages`, in their order."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state(source: Path) -> dict[str, Any] | None:
    """The revision of the git checkout that tracks a file.

    Args:
        source: a source file.

    Returns:
        `{"commit": hash, "dirty": whether tracked files differ from it}`; None if git is missing or does not
        track the file.
    """
    # An installed package may lie inside the checkout of some other project (in its .venv), whose revision
    # says nothing about the package. Only a checkout that tracks the file counts.
    tracked = _git(source.parent, "ls-files", "--error-unmatch", source.name)
    commit = _git(source.parent, "rev-parse", "HEAD")
    if tracked is None or commit is None:
        return None
    return {
        "commit": commit,
        "dirty": bool(_git(source.parent, "status", "--porcelain", "--untracked-files=no")),
    }


def command_line(argv: list[str], orig_argv: list[str], executable: str) -> list[str]:
    """The command that a person would type to repeat a process.

    Args:
        argv: `sys.argv`.
        orig_argv: `sys.orig_argv`, which still has the interpreter and its options (`python -m experiments`).
        executable: `sys.executable`.

    Returns:
        Its arguments, with an installed console command by its bare name.
    """
    if argv and Path(argv[0]).name and Path(argv[0]).parent == Path(executable).parent:
        return [Path(argv[0]).name, *argv[1:]]
    return [Path(argument).name if i == 0 else argument for i, argument in enumerate(orig_argv)]


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
