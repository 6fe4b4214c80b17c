import io

import numpy as np
import pytest

from rlx.training.progress import Progress, describe_returns, duration, engineering, number


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_plain_lines_are_rare_and_the_last_state_is_always_printed(clock):
    stream = io.StringIO()
    with Progress(1000, stream=stream, clock=clock) as progress:
        progress.phase("compiling")
        progress.phase("training")
        for i in range(1, 11):
            clock.now = 3.0 * i
            progress.update(100 * i, 800.0, np.full(8, float(i)))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "compiling · 0 of 1k steps"
    # Reports every 3 s: lines when training begins, however soon, at 12 s and 24 s, and the final one.
    assert lines[1] == "training · 0 of 1k steps"
    assert len(lines) == 5
    # Between the reports at 3 s and at 12 s there are 300 steps in 9 s; 600 are left.
    assert lines[2] == "training · 400 of 1k steps · 800 steps/s · return 4 (4 to 4) · 18 s left"
    assert lines[-1] == "training · 1k of 1k steps · 800 steps/s · return 10 (10 to 10) · 0.0 s left"


def test_the_first_report_uses_its_own_rate_for_the_time_left(clock):
    stream = io.StringIO()
    with Progress(1000, initial_steps=500, stream=stream, clock=clock) as progress:
        progress.phase("compiling")
        clock.now = 100.0
        progress.update(600, 80.0, np.zeros(8))  # 10 steps/s for each of 8 runs, 400 steps left
    assert "500 of 1k steps" in stream.getvalue()
    assert stream.getvalue().splitlines()[1].endswith("40 s left")


def test_quiet_writes_nothing(clock):
    stream = io.StringIO()
    for terminal in (False, True):
        with Progress(10, quiet=True, stream=stream, terminal=terminal, clock=clock) as progress:
            progress.phase("training")
            progress.update(10, 1.0, [1.0])
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with Progress(2_000_000, stream=stream, terminal=True) as progress:
        progress.phase("[training]")
        progress.update(1_000_000, 21_400.0, np.array([380.0, 410.0, 431.0, np.nan]))
    text = stream.getvalue()
    assert "━" in text
    for part in ("[training]", "1M/2M", "21.4k steps/s", "return 408 (380 to 431) in 3 of 4 runs", "left"):
        assert part in text


def test_describe_returns():
    assert describe_returns([]) == describe_returns([np.nan]) == ""
    assert describe_returns([12.0]) == "return 12"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (950, "950"), (1000, "1k"), (1234, "1.23k"), (21_400, "21.4k"), (999_960, "1.00M"),
        (1_200_000, "1.20M"), (1e7, "10M"), (123_456_789, "123M"), (2.5e9, "2.50G"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_engineering(value, text):
    assert engineering(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.012345, "0.0123"),
        (12.34, "12.3"),
        (-312.4, "-312"),
        (12345.6, "12,346"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (4.26, "4.3 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7805, "2 h 10 min"),
    ],
)
def test_duration(value, text):
    assert duration(value) == text
