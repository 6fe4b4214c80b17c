"""Whether a model fits into the machine, told before anything of its size is made."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax import Device

from rlx import memory
from rlx.policies.transformer.config import Config


def check(config: Config, what: str, *, copies: int = 1, devices: Sequence[Device] | None = None) -> None:
    """Check that the parameters of a model fit into memory.

    Args:
        config: the structure.
        what: what describes the model, for the error.
        copies: how many arrays of the parameters' size there are at least, in training.
        devices: where they lie; None takes JAX's default device.

    Raises:
        ValueError: they do not.
    """
    devices = [jax.local_devices()[0]] if devices is None else devices
    needed, there = copies * config.num_parameters * config.bytes_per_parameter, memory.of_devices(devices)
    if needed > there:
        raise ValueError(
            f"{what} describes a model of {config.num_parameters:.3g} parameters, which take {needed / 2**30:.3g} GiB "
            f"at least, but there are {there / 2**30:.3g} GiB of memory"
        )
