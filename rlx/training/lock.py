"""A lock on a folder: of several processes one may write there, and the others learn which one that is.

The kernel holds the lock (`flock`) and lets go of it with the process, however that ends. Where a file system knows no
such locks, and where it knows them on each machine alone, a heartbeat tells the living from the dead: the process that
holds the lock rewrites the file every few seconds, and whoever finds another's name watches whether that goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlx.training.disk import writing
from rlx.training.runs import RunError, check_place

try:
    import fcntl
except ImportError:  # no such locks on this system: heartbeats alone
    fcntl = None

NAME = ".lock"
HEARTBEAT_SECONDS = 5.0
WATCH_SECONDS = 13.0
"""How long a name of another process is watched: more than two heartbeats."""

_HELD: dict[Path, tuple[int, Path | None, threading.Event]] = {}
"""Folders whose lock this process holds: the open file, the first of the folders that were made, and the heartbeat."""


@contextlib.contextmanager
def held(folder: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is missing; what this process holds already it may hold again.

    The lock's file is removed where it is all that the folder holds at the end, and so is a folder that was made here.

    Raises:
        RunError: another process holds it; nothing has been changed.
        DiskError: the folder cannot be made or written.
    """
    folder = Path(folder).resolve()
    if folder in _HELD:
        yield
        return
    check_place(folder)
    made = next((path for path in [*reversed(folder.parents), folder] if not path.exists()), None)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = folder / NAME
    try:
        file, stop = _acquire(lock), threading.Event()
    except BaseException:
        _remove_empty(folder, made)
        raise
    _HELD[folder] = (file, made, stop)
    threading.Thread(target=_beat, args=(file, stop), name="rlx-heartbeat", daemon=True).start()
    try:
        yield
    finally:
        _let_go(folder)


def let_go() -> None:
    """Let go of all locks, as `held` does at its end; for a process that ends without coming to that."""
    for folder in list(_HELD):
        _let_go(folder)


def refuse_if_held(folder: str | os.PathLike) -> None:
    """Raise where another process holds the lock of a folder. Changes nothing, and does not watch heartbeats.

    Raises:
        RunError: another process of this machine holds it.
    """
    folder = Path(folder).resolve()
    if folder in _HELD or fcntl is None:
        return
    try:
        file = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(folder, _read(folder / NAME)) from None
    except OSError:
        return
    finally:
        os.close(file)


def _let_go(folder: Path) -> None:
    held = _HELD.pop(folder, None)
    if held is None:
        return
    file, made, stop = held
    stop.set()
    _write(file, {})
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [NAME]:
            (folder / NAME).unlink()
    _remove_empty(folder, made)
    os.close(file)


def _acquire(lock: Path) -> int:
    """The open file of a lock that is ours."""
    while True:
        with writing(lock):
            file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            known_to_kernel = _flock(file, lock)
            holder = _read(lock)
            # A kernel that knows the locks of its own machine alone has not seen a holder on another one.
            elsewhere = not known_to_kernel or holder.get("host") != socket.gethostname()
            if holder and elsewhere and _lives(lock, holder):
                raise _refusal(lock.parent, holder)
            ours = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
            _write(file, ours | {"beat": 0})
            if not known_to_kernel:  # of two that came at once, the later one's name stays
                time.sleep(1.0)
                if (other := _read(lock)).get("token") != ours["token"]:
                    raise _refusal(lock.parent, other)
            # Whoever had the lock may have removed the file between our opening it and locking it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(lock), os.fstat(file)):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _flock(file: int, lock: Path) -> bool:
    """Whether the kernel holds the lock for us; False where it has no such locks for this file."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(lock.parent, _read(lock)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO):
            raise
        return False
    return True


def _lives(lock: Path, holder: dict[str, Any]) -> bool:
    """Whether a holder that the kernel cannot tell of still writes its heartbeat."""
    if holder.get("host") == socket.gethostname() and not _runs_here(holder.get("pid")):
        return False
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(0.5)
        if _read(lock) != holder:
            return True
    return False


def _runs_here(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except OSError:  # another user's
        return True
    return True


def _beat(file: int, stop: threading.Event) -> None:
    """Rewrite the number in the lock file until told to stop."""
    try:
        holder = json.loads(os.pread(file, 4096, 0))
    except (OSError, ValueError):
        return
    while not stop.wait(HEARTBEAT_SECONDS):
        holder["beat"] += 1
        _write(file, holder)


def _write(file: int, holder: dict[str, Any]) -> None:
    # A full disk must not take the lock away: the kernel holds it, whatever the file says.
    with contextlib.suppress(OSError):
        text = json.dumps(holder).encode()
        os.pwrite(file, text, 0)
        os.ftruncate(file, len(text))
        os.fsync(file)


def _read(lock: Path) -> dict[str, Any]:
    """What a lock file says of its holder; nothing where it says nothing that can be read."""
    try:
        found = json.loads(lock.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(folder: Path, holder: dict[str, Any]) -> RunError:
    who = f"process {holder['pid']} on {holder.get('host')}" if "pid" in holder else "another process"
    return RunError(f"{who} trains in {folder}: wait until it ends, or choose another --run-dir")


def _remove_empty(folder: Path, made: Path | None) -> None:
    """Remove the folders that were made, from `folder` up to `made`, as far as nothing is in them."""
    if made is not None:
        with contextlib.suppress(OSError):
            for path in [folder, *folder.parents]:
                if path.exists():
                    path.rmdir()
                if path == made:
                    break
