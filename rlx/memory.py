"""How much memory there is, of the machine and of its devices: so that what cannot fit is refused before it is made."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jax import Device

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much of the machine a container may use."""


def of_machine() -> float:
    """Bytes of main memory that this process can have at most; infinite where the system does not tell."""
    sizes = [math.inf]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # without a limit it says "max"
            sizes.append(float(limit.read_text()))
    return min(sizes)


def free() -> float:
    """Bytes of main memory that nobody uses; infinite where the system does not tell."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M):
            return min(float(found[1]) * 1024, of_machine())
    return of_machine()


def of_devices(devices: Sequence[Device]) -> float:
    """Bytes that arrays on some devices, which are all alike, can have at most."""
    import jax

    # Devices of other processes say nothing of themselves; those of one CPU share its memory.
    local = jax.local_devices(backend=devices[0].platform)[0]
    if local.platform == "cpu":
        return of_machine() * len({device.process_index for device in devices})
    limit = (local.memory_stats() or {}).get("bytes_limit")
    return of_machine() if limit is None else limit * len(devices)
