"""The progress of a run on the terminal: a bar where someone watches, an occasional plain line elsewhere."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlx.training.statistics import interquartile_mean


class Progress:
    """A context manager that shows how far a run has come.

    On a terminal it draws one live line: phase, bar, environment steps, steps per second, the interquartile
    mean of the return with its lowest and highest seed, and the time left. Elsewhere it prints such a line at
    most every `interval` seconds, and a last one when it ends.

    Args:
        total_steps: environment steps at which the run is done, per run.
        initial_steps: steps already done when a run is resumed.
        quiet: show nothing.
        interval: seconds between plain lines.
        stream: where to write; standard error by default.
        terminal: whether `stream` is a terminal; asked of the stream by default.
        clock: seconds from any fixed origin.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        initial_steps: int = 0,
        quiet: bool = False,
        interval: float = 10.0,
        stream: io.TextIOBase | None = None,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._steps = total_steps, initial_steps
        self._quiet, self._interval, self._clock = quiet, interval, clock
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty() if terminal is None else terminal
        self._phase, self._sps, self._returns = "", math.nan, np.empty(0)
        self._first: tuple[float, int] | None = None
        self._latest = (clock(), initial_steps)
        self._last_line = -math.inf
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self._terminal and not self._quiet:
            self._bar = _make_bar(self._stream, self._remaining)
            self._bar.start()
            self._bar.add_task("", total=self._total, completed=self._steps, phase="", speed="", returns="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._first is not None:
            self._print(force=True)

    def phase(self, text: str) -> None:
        """Say what the run is doing: compiling, initializing, training, evaluating, saving."""
        # The first update may take minutes: nobody shall read "compiling" all the while.
        begins = text == "training" and self._first is None and self._phase != text
        self._phase = text
        self._show(at_once=begins)

    def update(self, env_steps: int, sps: float | int, returns: ArrayLike) -> None:
        """Report the state of the run.

        Args:
            env_steps: environment steps done so far, per run.
            sps: environment steps per second, all runs together.
            returns: `[runs]` latest return of each run; NaN or masked where there is none.
        """
        self._latest = (self._clock(), env_steps)
        self._first = self._first or self._latest
        self._steps, self._sps = env_steps, float(sps)
        self._returns = np.ma.filled(np.ma.asarray(returns, np.float64), np.nan).reshape(-1)
        self._show()

    def _show(self, *, at_once: bool = False) -> None:
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self._steps,
                phase=self._phase,
                speed=_speed(self._sps),
                returns=describe_returns(self._returns),
            )
        else:
            self._print(force=at_once)

    def _print(self, *, force: bool = False) -> None:
        now = self._clock()
        if self._quiet or not (force or now - self._last_line >= self._interval):
            return
        self._last_line = now
        fields = (
            self._phase,
            f"{engineering(self._steps)} of {engineering(self._total)} steps",
            _speed(self._sps),
            describe_returns(self._returns),
            _time_left(self._remaining()),
        )
        print(" · ".join(field for field in fields if field), file=self._stream, flush=True)

    def _remaining(self) -> float:
        """Seconds until the last step, counting down between reports; NaN before there is a rate."""
        then, steps = self._latest
        if self._first is None:
            return math.nan
        start, initial = self._first
        # Compilation precedes the first report, so the rate is taken from there on; until the second report
        # the only rate known is the one reported, which is of all runs together.
        rate = (steps - initial) / (then - start) if then > start else self._sps / max(len(self._returns), 1)
        return max(0.0, (self._total - steps) / rate - (self._clock() - then)) if rate > 0 else math.nan


def describe_returns(returns: ArrayLike) -> str:
    """`return 412 (388 to 431)`: interquartile mean, lowest, highest; and how many runs count, if not all.

    Args:
        returns: `[runs]`; elements that are not finite do not count.
    """
    returns = np.asarray(returns, np.float64)
    finite = returns[np.isfinite(returns)]
    if not finite.size:
        return ""
    center = number(float(interquartile_mean(finite)))
    spread = f" ({number(finite.min())} to {number(finite.max())})" if finite.size > 1 else ""
    missing = f" in {finite.size} of {returns.size} runs" if finite.size < returns.size else ""
    return f"return {center}{spread}{missing}"


def engineering(value: float | int) -> str:
    """A count with three significant digits and an SI suffix: `950`, `21.4k`, `1.20M`, `10M`."""
    if not math.isfinite(value):
        return "–"
    for scale, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would otherwise print as "1000k".
        if abs(value) >= 0.9995 * scale:
            scaled = value / scale
            digits = 0 if scaled == round(scaled) else max(0, 2 - int(math.log10(max(abs(scaled), 1))))
            return f"{scaled:.{digits}f}{suffix}"
    return f"{value:.0f}"


def bytes_in_words(count: int) -> str:
    """An amount of memory: `512 MiB`, `17.2 GiB`."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def number(value: float | int | None) -> str:
    """A return or a loss in three significant digits, or whole where that says more; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if 99.5 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def duration(seconds: float | int | None) -> str:
    """A time span in its two largest units: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _speed(sps: float) -> str:
    return f"{engineering(sps)} steps/s" if math.isfinite(sps) else ""


def _time_left(seconds: float) -> str:
    return f"{duration(round(seconds) if seconds >= 1 else 0)} left" if math.isfinite(seconds) else ""


def _make_bar(stream: io.TextIOBase, remaining: Callable[[], float]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Steps(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{engineering(task.completed)}/{engineering(task.total)}", no_wrap=True)

    class TimeLeft(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(_time_left(remaining()), style="progress.remaining", no_wrap=True)

    return Bar(
        TextColumn("{task.fields[phase]}", style="bold", markup=False),
        BarColumn(bar_width=None),
        Steps(),
        TextColumn("{task.fields[speed]}", style="progress.data.speed", markup=False),
        TextColumn("{task.fields[returns]}", style="green", markup=False),
        TimeLeft(),
        console=Console(file=stream, force_terminal=True),
        expand=True,
    )
