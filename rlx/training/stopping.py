"""Stopping cleanly: signals are noted, and obeyed once everything is saved."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], signal.Signals | None]]:
    """Note SIGINT and SIGTERM instead of dying of them; a second SIGINT interrupts at once.

    Yields:
        A function that says which signal has arrived, in any process of the job; every process must call it alike.
    """
    received: list[signal.Signals] = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number))
        print(f"\n{received[0].name}: saving after this report, then stopping", flush=True)

    previous = {}
    # Python delivers signals to the main thread only; elsewhere (a notebook's executor) they stay as they are.
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield lambda: _agreed(received[0] if received else None)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _agreed(stop: signal.Signals | None) -> signal.Signals | None:
    """The signal that any process of the job has received: all must leave the loop at the same update."""
    if jax.process_count() == 1:
        return stop
    numbers = multihost_utils.process_allgather(np.array(stop or 0))
    return signal.Signals(int(numbers.max())) if numbers.any() else None
