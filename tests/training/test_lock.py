"""One process writes into a run folder, and no other one before it has ended."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from rlx.training import lock
from rlx.training.disk import DiskError
from rlx.training.runs import RunError

HOLD = """
import fcntl, json, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, json.dumps({"host": "here", "pid": os.getpid()}).encode())
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_has_died(tmp_path):
    command = [sys.executable, "-S", "-c", HOLD, str(tmp_path / lock.NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        for attempt in (lambda: lock.refuse_if_held(tmp_path), lock.held(tmp_path).__enter__):
            with pytest.raises(RunError, match=f"process {process.pid} on here trains in .*: wait until it ends"):
                attempt()
        process.send_signal(signal.SIGKILL)
        process.wait()
    lock.refuse_if_held(tmp_path)
    (tmp_path / lock.NAME).write_text("{}")
    with lock.held(tmp_path), lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
        lock.refuse_if_held(tmp_path)
    assert not list(tmp_path.iterdir())


def test_folders_that_were_made_for_nothing_are_removed(tmp_path):
    with lock.held(tmp_path / "runs" / "one"):
        assert (tmp_path / "runs" / "one").is_dir()
    assert not list(tmp_path.iterdir())
    with lock.held(tmp_path / "runs" / "one"):
        (tmp_path / "runs" / "one" / "metrics.parquet").touch()
    assert (tmp_path / "runs" / "one" / "metrics.parquet").exists()
    with pytest.raises((RunError, DiskError)), lock.held("/proc/nothing/here"):
        pass


def test_without_locks_of_the_kernel_a_heartbeat_tells_the_living_from_the_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_flock", lambda file, path: False)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 1.2)
    path, stop = tmp_path / lock.NAME, threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.1):
            number += 1
            path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "beat": number}))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        while not path.exists():
            pass
        with pytest.raises(RunError, match="process 1 on elsewhere trains in"), lock.held(tmp_path):
            pass
    finally:
        stop.set()
        thread.join()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "beat": 7}))  # it has died
    with lock.held(tmp_path):
        pass
