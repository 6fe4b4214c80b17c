"""Stopping cleanly: before training at once, and while it goes on as soon as everything is saved."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

GRACE_SECONDS = 2.0
"""How long a process has to end of itself, before it is ended."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_undo: list[Callable[[], object]] = []
_stopping = threading.Event()


class Stopped(KeyboardInterrupt):
    """A signal has arrived and nothing is lost by ending at once.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = signal.Signals(number)


@contextlib.contextmanager
def early_stops() -> Iterator[None]:
    """End this process soon after SIGINT or SIGTERM, whatever it is doing: importing, compiling, drawing.

    The signal raises `Stopped`. A process that has not ended a little later, because a library swallowed that or a
    compiler is at work, is ended after undoing what `undo` names. While `stop_requests` is open, only a second SIGINT
    does so.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        before = {number: signal.signal(number, _stop_now) for number in _NUMBERS}
        wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    except ValueError:  # not the main thread, which alone gets signals
        os.close(read)
        os.close(write)
        yield
        return
    _stopping.clear()
    ended = threading.Event()
    threading.Thread(target=_watch, args=(read, ended), name="rlx-signals", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(write)  # which ends the thread


@contextlib.contextmanager
def undo(action: Callable[[], object]) -> Iterator[None]:
    """Do something before a signal ends the process within this block."""
    _undo.append(action)
    try:
        yield
    finally:
        _undo.remove(action)


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], signal.Signals | None]]:
    """Note SIGINT and SIGTERM instead of dying of them; a second SIGINT interrupts at once.

    Yields:
        A function that says which signal has arrived, in any process of the job; every process must call it alike.
    """
    received: list[signal.Signals] = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            _stopping.set()
            raise Stopped(number)
        received.append(signal.Signals(number))
        print(f"\n{received[0].name}: saving after this report, then stopping", flush=True)

    previous = {}
    # Python delivers signals to the main thread only; elsewhere (a notebook's executor) they stay as they are.
    with contextlib.suppress(ValueError):
        for number in _NUMBERS:
            previous[number] = signal.signal(number, note)
    try:
        yield lambda: _agreed(received[0] if received else None)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop_now(number: int, frame: object) -> None:
    # What follows from the first signal must not be interrupted by the next.
    if not _stopping.is_set():
        _stopping.set()
        raise Stopped(number)


def _watch(read: int, ended: threading.Event) -> None:
    """Read the numbers of signals as they arrive, since the main thread may be too busy to see them."""
    interrupts = 0
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            interrupts += number[0] == signal.SIGINT
            at_once = number[0] in _NUMBERS and (signal.getsignal(number[0]) is _stop_now or interrupts > 1)
            if at_once and not ended.wait(GRACE_SECONDS):
                _end(number[0])


def _end(number: int) -> None:
    for action in list(_undo):
        with contextlib.suppress(Exception):
            action()
    with contextlib.suppress(Exception):
        print("rlx: interrupted", file=sys.stderr, flush=True)
    os._exit(128 + number)


def _agreed(stop: signal.Signals | None) -> signal.Signals | None:
    """The signal that any process of the job has received: all must leave the loop at the same update."""
    # Imported late: the handlers of the first moment come before JAX.
    from rlx.training.processes import highest

    number = highest(stop or 0)
    return signal.Signals(number) if number else None
