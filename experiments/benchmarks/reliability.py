"""Kills, wrong commands, damaged files, full disks: what of it a run survives, and how it is answered.

Each part starts the command `rlx` as a user does, in a folder of its own, and compares what is left with the same run
left alone: the parameters' digests of every seed, and every number of the metrics but times.

- `kills`: `kill -9` at a random moment while a run starts, compiles, trains and writes a checkpoint, four in a row
  before it may end. They count as survived where the run then ends as the one that was left alone.
- `signals`: seconds from Ctrl-C and SIGTERM to the end of the process, and whether the run goes on to the same end.
- `commands`: wrong commands, one after the other in one process. Answered well is exit code 2, one line, and a folder
  in which nothing has changed.
- `files`: damaged run folders, datasets, models and task files. Answered well is either reading them or an error that
  the command line shows as one line.
- `disks`: a disk that fills up, and one that becomes read-only, in the middle of a run. Needs the right to mount.
- `company`: two processes on one folder.
- `sizes`: memory and disk of 64 seeds and of 16,384 environments.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlx.training.metrics import MetricsTable
from rlx.training.runs import read_json

TIMES = ("wall_time", "steps_per_second", "sps")
"""Columns of the metrics that tell time, and so differ between equal runs."""
DEADLINE = 600.0
"""Seconds after which a process counts as hanging."""
MOMENTS = ("start", "compilation", "training", "checkpoint")

SMALL = (
    "--num-envs 8 --hidden-sizes 32 --eval-episodes 2 --seeds 2 --reports 40 --checkpoints 20 --evaluations 4 "
    "--no-report --no-rollout"
)
SMALLEST = (
    "--hidden-sizes 8 --num-minibatches 1 --update-epochs 1 --seeds 2 --reports 2 --evaluations 2 --checkpoints 2 "
    "--eval-episodes 1 --max-episode-steps 10 --no-report --no-rollout"
)
JOBS = {
    "ppo": f"ppo --env rlx:pendulum --unroll-length 32 --num-minibatches 2 --total-steps 100000 {SMALL}",
    "sac": f"sac --env rlx:pendulum --buffer-size 20000 --warmup-steps 400 --batch-size 32 --total-steps 20000 {SMALL}",
    "td3_bc": "td3_bc --dataset {dataset} --total-steps 20000 --batch-size 64 --hidden-sizes 32 --eval-episodes 2 "
    "--seeds 2 --reports 40 --checkpoints 20 --evaluations 4 --no-report --no-rollout",
    "grpo": "grpo --task addition@digits=1 --warmup-steps 20 --warmup-batch-size 8 --hidden-size 16 --num-layers 1 "
    "--num-heads 2 --num-prompts 4 --group-size 4 --total-steps 3200 --seeds 2 --reports 20 --checkpoints 10 "
    "--evaluations 2 --eval-prompts 8 --no-report",
}
"""One small run of each kind, as words of `rlx train`."""


class Outcome(NamedTuple):
    """What a process came to.

    Attributes:
        code: its exit code; negative for a signal that killed it.
        errors: its lines on standard error.
        seconds: that it took.
        bytes: the most memory that it held.
    """

    code: int
    errors: list[str]
    seconds: float
    bytes: int


class Process:
    """`rlx train …` at work, with what it says in files beside the run folder."""

    def __init__(self, words: str, folder: Path, *, resume: bool = False, log: Path | None = None):
        self.folder, self._log = folder, (log or folder.parent) / f"{folder.name}.{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "rlx.cli", "train", *words.split(), "--run-dir", str(folder)]
        self.began = time.time()
        self._process = subprocess.Popen(
            command + ["--resume"] * resume,
            stdout=self._log.open("wb"),
            stderr=self._log.with_suffix(".err").open("wb"),
            # A signal reaches it alone, as it would from another terminal.
            start_new_session=True,
        )
        self._ended: int | None = None
        self._bytes = 0

    def poll(self) -> bool:
        """Whether it has ended."""
        # What the system tells of a process that has ended counts its parent's memory too, from before it began.
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            if found := re.search(r"VmHWM:\s*(\d+) kB", status):  # not of one that has just ended
                self._bytes = max(self._bytes, int(found[1]) * 1024)
        self._ended = self._process.poll()
        return self._ended is not None

    def wait(self) -> Outcome:
        """Its end; a process that hangs is killed, which its exit code then says."""
        while not self.poll():
            if time.time() - self.began > DEADLINE:
                self.send(signal.SIGKILL)
            time.sleep(0.02)
        errors = self._log.with_suffix(".err").read_text(errors="replace").splitlines()
        return Outcome(self._ended, errors, time.time() - self.began, self._bytes)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if not self.poll():
            os.kill(self._process.pid, number)

    def reach(self, moment: str, rng: np.random.Generator) -> bool:
        """Wait for a random moment of one kind; False where the process ended before."""
        if moment != "start":
            has_come = {
                "compilation": lambda: "→" in self._log.read_text(errors="replace"),
                "training": lambda: self._newer(self.folder / "metrics.parquet"),
                "checkpoint": lambda: any(map(self._newer, self.folder.glob("checkpoints/*tmp*"))),
            }[moment]
            while not has_come():
                if self.poll():
                    return False
                time.sleep(0.002)
        most = {"start": 4.0, "compilation": 3.0, "training": 1.0, "checkpoint": 0.03}[moment]
        time.sleep(rng.uniform(0.0, most))
        return not self.poll()

    def _newer(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime > self.began
        except OSError:
            return False


def result(folder: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """What two equal runs have in common: digests of all seeds' parameters, and the metrics but times."""
    digests = [run["params_sha256"] for run in read_json(folder / "summary.json")["runs"]]
    table = MetricsTable.read(folder / "metrics.parquet")
    numbers = {name: np.ma.filled(x.astype(float), np.nan) for name, x in table.columns.items() if name not in TIMES}
    return digests, numbers


def equal(a: tuple, b: tuple) -> bool:
    """Whether two results are the same bit for bit."""
    (digests, numbers), (other_digests, other_numbers) = a, b
    return (
        digests == other_digests
        and numbers.keys() == other_numbers.keys()
        and all(np.array_equal(numbers[name], other_numbers[name], equal_nan=True) for name in numbers)
    )


def ends_as(reference: tuple, words: str, folder: Path, *, log: Path | None = None) -> bool:
    """Whether a run that was interrupted goes on to the same end."""
    return Process(words, folder, resume=True, log=log).wait().code == 0 and equal(reference, result(folder))


def undisturbed(words: str, folder: Path) -> tuple[tuple, Outcome]:
    """The same run left alone: its result, and what it took."""
    outcome = Process(words, folder).wait()
    if outcome.code:
        raise RuntimeError(f"rlx train {words} ended with {outcome.code}: {' '.join(outcome.errors[-3:])}")
    return result(folder), outcome


def kills(jobs: dict[str, str], scratch: Path, *, chains: int) -> dict[str, Any]:
    """`kill -9` at random moments, one of each kind in a row, before the run may end."""

    def chain(name: str, words: str, index: int, reference: tuple) -> tuple[list[str], bool]:
        rng = np.random.default_rng([index, *name.encode()])
        folder, hit = scratch / f"{name}-{index}", []
        for moment in rng.permutation(MOMENTS).tolist():
            process = Process(words, folder, resume=folder.exists())
            if process.reach(moment, rng):
                process.send(signal.SIGKILL)
                hit.append(moment)
            process.wait()
        return hit, ends_as(reference, words, folder)

    found = {}
    for name, words in jobs.items():
        reference, outcome = undisturbed(words, scratch / name)
        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(lambda index: chain(name, words, index, reference), range(chains)))
        counted = {moment: [0, 0] for moment in MOMENTS}
        for hit, same in ended:
            for moment in hit:
                counted[moment][0] += 1
                counted[moment][1] += same
        found[name] = {"seconds_undisturbed": outcome.seconds, "tried_and_survived": counted}
        print(f"kills of {name}: {counted}", flush=True)
    return found


def signals(words: str, scratch: Path, *, repetitions: int) -> dict[str, Any]:
    """Seconds from a signal to the end of the process, and whether the run goes on from there to the same end."""
    reference, _ = undisturbed(words, scratch / "signals")
    rng, found = np.random.default_rng(0), {}
    for number in (signal.SIGINT, signal.SIGTERM):
        for moment in MOMENTS:
            seconds, same, codes = [], 0, []
            for index in range(repetitions):
                folder = scratch / f"{number.name}-{moment}-{index}"
                process = Process(words, folder)
                if not process.reach(moment, rng):
                    continue
                tick = time.perf_counter()
                process.send(number)
                codes.append(process.wait().code)
                seconds.append(time.perf_counter() - tick)
                same += ends_as(reference, words, folder)
            found[f"{number.name} at {moment}"] = {"seconds": seconds, "codes": codes, "same_end": same}
    return found


def system(*command: str) -> None:
    """Run a command of the system; its error is ours."""
    subprocess.run(command, check=True, capture_output=True)


class Disk(NamedTuple):
    """A file system of its own, and how it fails and is mended.

    Attributes:
        make: `(folder)`: mounts it.
        fail: `(folder)`: makes it fail in the middle of a run; None for one that fails by itself.
        mend: `(folder)`: makes it whole again.
    """

    make: Callable[[Path], None]
    fail: Callable[[Path], None] | None
    mend: Callable[[Path], None]


def image(folder: Path) -> Path:
    """The file that a file system lies in."""
    return folder.with_suffix(".image")


def make_ext4(folder: Path) -> None:
    """A file system of 64 MB."""
    with image(folder).open("wb") as file:
        file.truncate(64_000_000)
    system("mkfs.ext4", "-q", "-F", str(image(folder)))
    system("mount", "-o", "loop", str(image(folder)), str(folder))


def mend_ext4(folder: Path) -> None:
    """What an administrator does after the kernel has made a file system read-only."""
    system("umount", str(folder))
    subprocess.run(["fsck.ext4", "-p", str(image(folder))], capture_output=True)  # 1 says that it mended something
    system("mount", "-o", "loop", str(image(folder)), str(folder))


DISKS = {
    "full": Disk(
        lambda folder: system("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)),
        None,
        lambda folder: system("mount", "-o", "remount,size=64m", str(folder)),
    ),
    # As the kernel does it after an error of the device, whatever is open there.
    "read-only": Disk(make_ext4, lambda folder: system("mount", "-o", "remount,abort", str(folder)), mend_ext4),
}


def disks(words: str, scratch: Path, *, repetitions: int) -> dict[str, Any]:
    """A disk that fills up and one that becomes read-only in the middle of a run, and is then mended."""
    reference, _ = undisturbed(words, scratch / "disks")
    found: dict[str, Any] = {}
    for name, disk in DISKS.items():
        outcomes, same = [], 0
        for index in range(repetitions):
            folder = scratch / f"disk-{name}-{index}"
            folder.mkdir()
            try:
                disk.make(folder)
            except (OSError, subprocess.CalledProcessError) as error:
                found["not_tried"] = f"no file system may be mounted here ({error})"
                break
            try:
                process = Process(words, folder / "run", log=scratch)
                if disk.fail is not None and process.reach("training", np.random.default_rng(index)):
                    disk.fail(folder)
                outcomes.append(process.wait())
                disk.mend(folder)
                same += ends_as(reference, words, folder / "run", log=scratch)
            finally:
                system("umount", "-l", str(folder))
        if outcomes:
            found[name] = {
                "codes": [outcome.code for outcome in outcomes],
                "lines": [len(outcome.errors) for outcome in outcomes],
                "errors": [line.replace(str(scratch), "") for line in outcomes[-1].errors[-3:]],
                "same_end": same,
            }
    return found


def company(words: str, scratch: Path) -> dict[str, Any]:
    """Two processes on one folder: the second is refused, and the first does not notice."""
    reference, _ = undisturbed(words, scratch / "company")
    first = Process(words, scratch / "shared")
    first.reach("training", np.random.default_rng(0))
    second = Process(words, scratch / "shared", resume=True).wait()
    alone = first.wait().code == 0 and equal(reference, result(scratch / "shared"))
    said = [line.replace(str(scratch), "").replace(socket.gethostname(), "HOST") for line in second.errors]
    return {"second_code": second.code, "second_said": said, "first_unharmed": alone}


def sizes(scratch: Path, *, quick: bool) -> dict[str, Any]:
    """Memory and disk of many seeds and of many environments."""
    common = "ppo --env rlx:pendulum --no-report --no-rollout --eval-episodes 4 --reports 4"
    of = {
        "64 seeds": f"{common} --seeds 64 --num-envs 16 --total-steps 20000",
        "16,384 environments": f"{common} --seeds 1 --num-envs 16384 --unroll-length 16 --total-steps 1000000",
    }
    if quick:
        of = {"2 seeds": f"{common} --seeds 2 --num-envs 4 --unroll-length 8 --hidden-sizes 8 --total-steps 128"}
    found = {}
    for name, words in of.items():
        folder = scratch / name.replace(" ", "-").replace(",", "")
        _, outcome = undisturbed(words, folder)
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        found[name] = {"command": f"rlx train {words}", "memory_bytes": outcome.bytes, "disk_bytes": disk}
    return found


def commands(scratch: Path, limit: int | None) -> dict[str, Any]:
    """Wrong commands, answered by one line and exit code 2, with nothing written."""
    from tests.fuzz import commands as cases

    folder = scratch / "commands"
    folder.mkdir()
    cases.prepare(folder)
    tried = cases.commands()[:limit]
    wrong = [command for command in tried if not cases.attempt(command, folder).is_well_answered]
    return {"tried": len(tried), "answered_well": len(tried) - len(wrong), "not": wrong}


def files(scratch: Path, limit: int | None) -> dict[str, Any]:
    """Damaged files, read or named in one line."""
    from rlx.recipes import trained
    from tests.fuzz import data_files, language_files, run_folders
    from tests.fuzz.damage import answers

    def choose(folder: Path) -> None:
        record = trained.read(folder)
        trained.choose_member(trained.read_metrics(record))

    run = scratch / "run-to-damage"
    undisturbed(f"ppo --env rlx:pendulum --total-steps 64 --num-envs 4 --unroll-length 8 {SMALLEST}", run)

    def copies() -> Iterator[tuple[str, Callable[[Path], Path]]]:
        for name, damage in run_folders.cases(run):
            yield name, functools.partial(damaged, damage)

    def damaged(damage: Callable[[Path], Any], folder: Path) -> Path:
        copy = shutil.copytree(run, folder / "run")
        damage(copy)
        return copy

    kinds = {
        "run folders": (copies(), choose),
        "datasets": (data_files.cases(), data_files.load),
        "language models": (language_files.cases(), language_files.load),
    }
    found = {}
    for kind, (cases, read) in kinds.items():
        answered = list(answers(itertools.islice(cases, limit), read, scratch))
        wrong = [f"{name}: {error}" for name, error in answered if error is not None]
        found[kind] = {"tried": len(answered), "answered_well": len(answered) - len(wrong), "not": wrong}
    return found


def make_dataset(scratch: Path) -> Path:
    """A small dataset of uniform actions, for the run that learns from data."""
    path = scratch / "pendulum.hdf5"
    words = f"dataset make --env rlx:pendulum --level random --steps 2000 --out {path}"
    subprocess.run([sys.executable, "-m", "rlx.cli", *words.split()], check=True, capture_output=True)
    return path


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    from experiments.benchmarks import timing

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", help="which to do, by commas; the record keeps what it has of others")
    parser.add_argument("--killed", default=",".join(JOBS), help="runs to kill, by commas; the record keeps others")
    parser.add_argument("--signals", type=int, default=3, help="repetitions of each signal at each moment")
    parser.add_argument("--disks", type=int, default=8, help="repetitions of each failure of a disk")
    parser.add_argument("--chains", type=int, default=5, help="rows of four kills for each algorithm")
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    quick, chains = options.quick, 1 if options.quick else options.chains
    record: dict[str, Any] = {} if quick else timing.load("reliability").get("results", {})
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        jobs = {algorithm: words.format(dataset=scratch / "pendulum.hdf5") for algorithm, words in JOBS.items()}
        killed = {name: jobs[name] for name in (["ppo"] if quick else options.killed.split(","))}
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "commands": lambda: commands(scratch, 3 if quick else None),
            "files": lambda: files(scratch, 3 if quick else None),
            "kills": lambda: record.get("kills", {}) | kills(killed, scratch, chains=chains),
            "signals": lambda: signals(jobs["ppo"], scratch, repetitions=1 if quick else options.signals),
            "disks": lambda: disks(jobs["ppo"], scratch, repetitions=2 if quick else options.disks),
            "company": lambda: company(jobs["ppo"], scratch),
            "sizes": lambda: sizes(scratch, quick=quick),
        }
        wanted = list(parts) if options.parts is None else options.parts.split(",")
        if unknown := set(wanted) - parts.keys():
            parser.error(f"--parts knows {', '.join(parts)}; got {', '.join(sorted(unknown))}")
        if "kills" in wanted and "td3_bc" in killed:
            make_dataset(scratch)
        for part in wanted:
            start = time.perf_counter()
            record[part] = parts[part]()
            print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
            # What is measured is kept at once.
            if not quick:
                timing.save("reliability", {"results": record, "jobs": JOBS})
    show(record)
    return {"results": record, "jobs": JOBS}


def show(record: dict[str, Any]) -> None:
    """Print a record as tables."""
    from experiments.benchmarks import timing

    if "kills" in record:
        rows = [
            (name, *(f"{survived} of {tried}" for tried, survived in of["tried_and_survived"].values()))
            for name, of in record["kills"].items()
        ]
        timing.show("Kills survived bit for bit", ("run", *MOMENTS), rows)
    if "signals" in record:
        rows = [
            (name, f"{statistics.median(of['seconds']):.1f}", f"{max(of['seconds']):.1f}", str(set(of["codes"])))
            for name, of in record["signals"].items()
            if of["seconds"]
        ]
        timing.show("From a signal to the end", ("signal", "seconds, median", "most", "exit codes"), rows)
    answered = {"commands": record["commands"]} if "commands" in record else {}
    answered |= record.get("files", {})
    if answered:
        rows = [(name, str(of["tried"]), str(of["answered_well"])) for name, of in answered.items()]
        timing.show("Wrong commands and damaged files", ("what", "tried", "answered well"), rows)
    if "sizes" in record:
        rows = [
            (name, f"{of['memory_bytes'] / 2**30:.2f}", f"{of['disk_bytes'] / 2**20:.1f}")
            for name, of in record["sizes"].items()
        ]
        timing.show("Memory and disk", ("run", "memory, GiB", "disk, MiB"), rows)


if __name__ == "__main__":
    main()
