"""Calls of a user's Python functions on the host: in threads, with a time limit, and never many that hang.

A function runs in threads, since it may be a closure or live in a notebook, which no other process could import. After
a time-out its thread is ended by a `TimedOut` at the next line of Python that it runs, so that an endless loop takes no
more of the machine. What waits outside of Python, in a call of a library, ends when that returns; while `MAX_HANGING`
such calls go on, no other is begun. None of them outlives the program. Code that might never return belongs in a
process that the function starts and ends (`subprocess.run(…, timeout=…)`); what keeps the interpreter's lock, such as a
regular expression that backtracks without end, stops everything, this clock included. The function must not use JAX,
whose device waits for it.
"""

from __future__ import annotations

import ctypes
import inspect
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Int

from rlx.envs.registry import nearest, own_module

MAX_HANGING = 16
"""How many calls of a function may go on after their time-out; while as many do, none is begun."""

MAX_WORKERS = 1024
"""Most calls of a function at the same time, each in a thread."""


def named_function(spec: str, what: str) -> Callable[..., Any]:
    """The function that `"module:function"` names, of an installed module or one in the current folder.

    This runs the module's code: only for text from whoever runs the program.

    Args:
        spec: the name.
        what: the option that it is the value of, for errors.

    Raises:
        ValueError: there is no such module or function. What goes wrong inside the module keeps its own traceback.
    """
    name, colon, attribute = spec.partition(":")
    if not (name and colon and attribute):
        raise ValueError(f"{what} must be a function, written module:function, got {spec!r:.80}")
    module = own_module(name, f"{what}={spec!r}")
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"module {name!r} of {what}={spec!r} has no {attribute!r}; {nearest(attribute, own)}")
    return getattr(module, attribute)


def check_function(function: Any, what: str, arguments: Sequence[str]) -> None:
    """Check that a value can be called with so many arguments.

    Args:
        function: the value.
        what: the option that it is the value of, for errors.
        arguments: names of what it is called with.

    Raises:
        ValueError: it is no function, or takes other arguments.
    """
    called = f"({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{what} must be a function of {called}, got {function!r:.80}, which cannot be called")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions of C do not say
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name = getattr(function, "__name__", function)
        raise ValueError(f"{what} is called with {called}, but {name}{signature}: {error}") from None


def check_limits(timeout: float, workers: int) -> None:
    """Check how long calls may take, and how many may run at the same time.

    Raises:
        ValueError: `timeout` is not positive or longer than a thread can wait, or there is no worker, or more than
            `MAX_WORKERS`.
    """
    if not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ValueError(
            f"timeout must be a positive number of seconds, at most {threading.TIMEOUT_MAX:.0f}, got {timeout}"
        )
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers must be at least 1 and at most {MAX_WORKERS}, got {workers}")


def of_arrays(on_rows: Callable[..., tuple[np.ndarray, ...]], *results: jax.ShapeDtypeStruct) -> Callable[..., Any]:
    """A function of rows on the host as one of arrays, to be jitted and vmapped; a batch is one call of the host.

    Args:
        on_rows: `(index of the prompt [row], tokens [row, time], where [row, time]) -> results`, each with an axis of
            rows in front.
        results: shapes and dtypes of one row's results.
    """

    def on_host(index, tokens, where):
        index, tokens, where = map(np.asarray, (index, tokens, where))
        rows = (x.reshape(-1, x.shape[-1]) for x in (tokens, where))
        return tuple(x.reshape((*index.shape, *x.shape[1:])) for x in on_rows(index.ravel(), *rows))

    def function(index: Int[Array, ""], tokens: Int[Array, " time"], where: Bool[Array, " time"]):
        # Not `io_callback`: nothing depends on the order of calls, and what nobody reads need not be computed.
        return jax.pure_callback(on_host, results, index, tokens, where, vmap_method="broadcast_all")

    return function


class TooManyHanging(RuntimeError):
    """So many calls go on after their time-out that none is begun."""


class TimedOut(SystemExit):
    """Raised inside a call that has had its time, to end it.

    No `Exception`, so that a function which catches those does not go on; and a thread's end passes over a `SystemExit`
    in silence.
    """


class _Call(threading.Thread):
    """A call of a function in a thread of its own."""

    def __init__(self, function: Callable[..., Any], arguments: tuple, timeout: float):
        # A daemon: the end of the program does not wait for what hangs.
        super().__init__(daemon=True)
        self.function, self.arguments, self.value, self.error = function, arguments, None, None
        self.done, self.too_late = threading.Event(), time.monotonic() + timeout

    def run(self) -> None:
        try:
            self.value = self.function(*self.arguments)
        # A user's code may raise anything, ask the program to exit and even say that a key was pressed, which Python
        # tells the main thread alone: one response must not end a run.
        except BaseException as error:
            self.error = error
        self.done.set()

    def end(self) -> None:
        """Ask the thread to end; it does so at the next line of Python that it runs."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(TimedOut))


class Calls:
    """Calls of a function that may fail or hang, of which there are never many."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        otherwise: Any,
        failure: str,
        about: Callable[..., str],
        timeout: float,
        workers: int,
    ):
        """Calls of a function.

        Args:
            function: what is called.
            otherwise: the result of a call that fails.
            failure: what a warning says of a call that fails.
            about: from the arguments of a call to what a warning shows of them.
            timeout: seconds that a call may take.
            workers: calls at the same time.
        """
        self.function, self.otherwise, self.timeout, self.workers = function, otherwise, timeout, workers
        self.failure, self.about = failure, about
        # Several devices may ask at the same time.
        self.lock, self.hanging = threading.Lock(), []
        self.warned: set[type] = set()

    def __call__(self, arguments: Iterable[tuple]) -> list[Any]:
        """The result of each call, in their order."""
        running, results = deque(), []
        for given in arguments:
            if len(running) == self.workers:
                results.append(self.result(running.popleft()))
            running.append(self.start(given))
        return results + [self.result(call) for call in running]

    def start(self, arguments: tuple) -> _Call:
        """A call, begun unless too many others hang."""
        call = _Call(self.function, arguments, self.timeout)
        with self.lock:
            self.hanging = [late for late in self.hanging if late.is_alive()]
            for late in self.hanging:
                late.end()  # again: a function may have caught what was to end it
            if len(self.hanging) < MAX_HANGING:
                call.start()
            else:
                call.error = TooManyHanging(f"{MAX_HANGING} earlier calls have not returned")
                call.done.set()
        return call

    def result(self, call: _Call) -> Any:
        """What a call returned, or what stands for it where it failed, of which each kind is warned of once."""
        if call.done.wait(max(0.0, call.too_late - time.monotonic())):
            error = call.error
        else:
            error = TimeoutError(f"no result after {self.timeout:g} s")
            with self.lock:
                self.hanging.append(call)
                call.end()
        if error is None:
            return call.value
        if type(error) not in self.warned:
            self.warned.add(type(error))
            warnings.warn(
                f"{self.failure}: {type(error).__name__}: {error}; the response was "
                f"{self.about(*call.arguments)!r:.500}; other failures of this kind are not reported",
                stacklevel=2,
            )
        return self.otherwise
