"""What several processes of one job do together: what the first one does alone, and what all of them agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from rlx.training.runs import RunError

T = TypeVar("T")


def by_first_process(action: Callable[[], T]) -> T | None:
    """Do something in the first process alone while the others wait; what fails there ends all of them.

    Returns:
        What it gave; None in the other processes.

    Raises:
        RunError: in the other processes, where it failed; the first one has its own error.
    """
    result, error = None, None
    if jax.process_index() == 0:
        try:
            result = action()
        except Exception as caught:
            error = caught
    if jax.process_count() > 1:
        failed = multihost_utils.broadcast_one_to_all(np.array(error is not None))
        if failed and error is None:
            raise RunError("the first process of this job cannot begin; it says why")
    if error is not None:
        raise error
    return result


def highest(number: int) -> int:
    """The highest of the numbers that the processes of a job have; every process must call it alike."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.array(number)).max())
