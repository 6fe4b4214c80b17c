"""Rewards of texts: a user's Python function, called on the host from inside a compiled program.

`text_reward` makes a function of arrays out of one of texts, `(prompt, response, answer) -> number`. `math_answer` is
such a function: whether a response marks the right answer.
"""

from __future__ import annotations

import ctypes
import inspect
import threading
import time
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rlx.envs.language import answers
from rlx.envs.registry import nearest, own_module

Reward = Callable[[str, str, str], float]
"""`(prompt, response, answer) -> reward`."""

MAX_HANGING = 16
"""How many calls of a function may go on after their time-out; while as many do, none is begun."""

MAX_WORKERS = 1024
"""Most calls of a function at the same time, each in a thread."""

_LARGEST = float(np.finfo(np.float32).max)


def final_answer(text: str, *, last_number: bool = False) -> str:
    """The answer that a text marks: in the last `\\boxed{…}`, or else behind the last `####` of it, as in GSM8K.

    Equal numbers are written in one way: `#### 1,000` and `\\boxed{\\$1000.0}` give 1000, and 0.5 and `\\frac12` 1/2.

    Args:
        text: the text.
        last_number: take its last number where nothing is marked.

    Returns:
        The answer, or "" where there is none.
    """
    return answers.normal(answers.marked(text) or (answers.last_number(text) if last_number else ""))


def math_answer(prompt: str, response: str, answer: str, *, last_number: bool = False) -> float:
    """1 where the answer that a response marks is equal to the right one, else 0; `answers.equal` says when it is.

    Args:
        prompt: is not looked at.
        response: marks its answer by a box or `####`; see `final_answer`.
        answer: marks the right one, or is it as a whole.
        last_number: take the last number of a response that marks nothing, and of an answer that is a sentence.
    """
    given = answers.marked(response) or (answers.last_number(response) if last_number else "")
    if not given:
        return 0.0
    right = answers.marked(answer)
    if not right and last_number and answers.is_prose(answer):
        right = answers.last_number(answer)
    return float(answers.equal(given, right or answer))


def named_reward(spec: str) -> Reward:
    """The function that `"module:function"` names, of an installed module or one in the current folder.

    This runs the module's code: only for text from whoever runs the program.

    Raises:
        ValueError: there is no such module or function. What goes wrong inside the module keeps its own traceback.
    """
    name, colon, attribute = spec.partition(":")
    if not (name and colon and attribute):
        raise ValueError(f"reward must be a function, written module:function, got {spec!r:.80}")
    module = own_module(name, f"reward={spec!r}")
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"module {name!r} of reward={spec!r} has no {attribute!r}; {nearest(attribute, own)}")
    return getattr(module, attribute)


def check_reward(function: Any) -> None:
    """Check that a reward can be called as one.

    Raises:
        ValueError: it is no function, or takes other arguments.
    """
    if not callable(function):
        raise ValueError(
            f"reward must be a function of (prompt, response, answer), got {function!r:.80}, which cannot be called"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions of C do not say
        return
    try:
        signature.bind("", "", "")
    except TypeError as error:
        name = getattr(function, "__name__", function)
        raise ValueError(f"reward is called with (prompt, response, answer), but {name}{signature}: {error}") from None


def text_reward(
    function: Reward,
    pairs: Sequence[tuple[str, str]],
    *,
    decode: Callable[[Sequence[int]], str],
    end_token: int,
    timeout: float = 5.0,
    failed: float = 0.0,
    workers: int = 1,
    answer_of: Callable[[str], str] = final_answer,
) -> Callable[..., tuple[Float[Array, ""], Int[Array, ""]]]:
    """A function of texts as one of arrays, to be jitted and vmapped; however deep, a batch is one call of the host.

    An exception, a time-out, or a result that is no finite number makes the reward `failed` and is warned of, each kind
    once; the run goes on. A response that has not ended gets `failed` without being looked at.

    The function runs in threads, since it may be a closure or live in a notebook, which no other process could import.
    After a time-out its thread is ended by a `TimedOut` at the next line of Python that it runs, so that an endless
    loop takes no more of the machine. What waits outside of Python, in a call of a library, ends when that returns;
    while `MAX_HANGING` such calls go on, no other is begun and rewards are `failed`. None of them outlives the program.
    Code that might never return belongs in a process that the function starts and ends (`subprocess.run(…,
    timeout=…)`); what keeps the interpreter's lock, such as a regular expression that backtracks without end, stops
    everything, this clock included. The function must not use JAX, whose device waits for it.

    Args:
        function: `(prompt, response, answer) -> reward`. It is taken to be pure: a call whose result nobody uses is
            left out of the compiled program, as it is in a warm-up.
        pairs: (prompt, answer) of each problem.
        decode: from tokens to text; it gets the response without what ended it.
        end_token: what ends a response.
        timeout: seconds that a call may take.
        failed: the reward of a response that could not be scored.
        workers: calls at the same time. More than one is of use where the function waits, for another process or a
            server; it must then be safe to call from several threads.
        answer_of: from a response to its final answer, for majority votes; "" for none.

    Returns:
        `(index of the pair, tokens [response], where [response]) -> (reward, answer)`, the answer as a number that is
        equal for equal ones, or −1.

    Raises:
        ValueError: `function` is none that takes three texts, `timeout` is not positive or longer than a thread can
            wait, `failed` is no finite float32, or there is no worker, or more than `MAX_WORKERS`.
    """
    check_reward(function)
    if not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ValueError(
            f"timeout must be a positive number of seconds, at most {threading.TIMEOUT_MAX:.0f}, got {timeout}"
        )
    if not abs(failed) <= _LARGEST:
        raise ValueError(f"failed must be a finite number, got {failed}")
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers must be at least 1 and at most {MAX_WORKERS}, got {workers}")

    def judged(prompt: str, response: str, answer: str) -> tuple[float, int]:
        reward = float(function(prompt, response, answer))
        if not abs(reward) <= _LARGEST:
            raise ValueError(f"the reward must be a finite number, got {reward}")
        own = answer_of(response)
        return reward, zlib.crc32(own.encode()) & 0x7FFFFFFF if own else -1

    calls = _Calls(judged, otherwise=(failed, -1), timeout=timeout, workers=workers)

    def on_host(index, tokens, where):
        index, tokens, where = map(np.asarray, (index, tokens, where))
        length = tokens.shape[-1]
        responses = [row[real] for row, real in zip(tokens.reshape(-1, length), where.reshape(-1, length), strict=True)]
        ended = [row for row, response in enumerate(responses) if response.size and response[-1] == end_token]
        reward, answer = np.full(index.size, failed, np.float32), np.full(index.size, -1, np.int32)
        of_row = index.ravel()
        texts = ((pairs[of_row[row]][0], decode(responses[row][:-1].tolist()), pairs[of_row[row]][1]) for row in ended)
        for row, outcome in zip(ended, calls(texts), strict=True):
            reward[row], answer[row] = outcome
        return reward.reshape(index.shape), answer.reshape(index.shape)

    def score(index: Int[Array, ""], tokens: Int[Array, " response"], where: Bool[Array, " response"]):
        results = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32)
        # Not `io_callback`: nothing depends on the order of calls, and a verdict that nobody reads need not be reached.
        return jax.pure_callback(on_host, results, index, tokens, where, vmap_method="broadcast_all")

    return score


class TooManyHanging(RuntimeError):
    """So many calls go on after their time-out that none is begun."""


class TimedOut(SystemExit):
    """Raised inside a call that has had its time, to end it.

    No `Exception`, so that a function which catches those does not go on; and a thread's end passes over a `SystemExit`
    in silence.
    """


class _Call(threading.Thread):
    """A call of a function in a thread of its own."""

    def __init__(self, function: Callable[..., Any], texts: tuple[str, str, str], timeout: float):
        # A daemon: the end of the program does not wait for what hangs.
        super().__init__(daemon=True)
        self.function, self.texts, self.value, self.error = function, texts, None, None
        self.done, self.too_late = threading.Event(), time.monotonic() + timeout

    def run(self) -> None:
        try:
            self.value = self.function(*self.texts)
        # A user's code may raise anything, ask the program to exit and even say that a key was pressed, which Python
        # tells the main thread alone: one response must not end a run.
        except BaseException as error:
            self.error = error
        self.done.set()

    def end(self) -> None:
        """Ask the thread to end; it does so at the next line of Python that it runs."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(TimedOut))


class _Calls:
    """Calls of a function that may fail or hang, of which there are never many."""

    def __init__(self, function: Callable[..., Any], *, otherwise: Any, timeout: float, workers: int):
        self.function, self.otherwise, self.timeout, self.workers = function, otherwise, timeout, workers
        # Several devices may ask at the same time.
        self.lock, self.hanging = threading.Lock(), []
        self.warned: set[type] = set()

    def __call__(self, arguments: Iterable[tuple[str, str, str]]) -> list[Any]:
        """The result of each call, in their order."""
        running, results = deque(), []
        for texts in arguments:
            if len(running) == self.workers:
                results.append(self.result(running.popleft()))
            running.append(self.start(texts))
        return results + [self.result(call) for call in running]

    def start(self, texts: tuple[str, str, str]) -> _Call:
        """A call, begun unless too many others hang."""
        call = _Call(self.function, texts, self.timeout)
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
                f"the reward function failed, which gives {self.otherwise[0]:g}: {type(error).__name__}: {error}; the "
                f"response was {call.texts[1]!r:.500}; other failures of this kind are not reported",
                stacklevel=2,
            )
        return self.otherwise
