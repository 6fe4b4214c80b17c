"""Reading a damaged run folder works, or ends in one line that names what is wrong."""

import shutil
import warnings

import pytest

from rlx import cli
from rlx.cli.errors import is_for_the_user, one_line
from rlx.recipes import trained
from rlx.training import plots, reading, report
from tests.fuzz.run_folders import cases, checkpoint_cases

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TRAIN = (
    "train ppo --env rlx:pendulum --seeds 2 --num-envs 4 --unroll-length 8 --num-minibatches 1 --update-epochs 1 "
    "--total-steps 64 --reports 2 --evaluations 2 --checkpoints 2 --eval-episodes 1 --hidden-sizes 8 "
    "--max-episode-steps 10 --no-rollout --no-report --quiet --run-dir"
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main([*TRAIN.split(), str(path)]) == 0
    return path


def attempt(read, folder):
    """What a reader says of a folder: None where it works."""
    try:
        read(folder)
    except Exception as error:
        assert is_for_the_user(error), f"{type(error).__name__}: {error!s:.300}"
        line = one_line(error)
        assert line and len(line) < 1000, line
        return line
    return None


def choose(folder):
    record = trained.read(folder)
    table = trained.read_metrics(record)
    member = trained.choose_member(table)
    return record, table, member, trained.choose_checkpoint([1, 2], table, member, "best")


def draw(folder):
    plots.learning_curve({"run": reading.metrics(folder / "metrics.parquet")})


READERS = {
    "read": trained.read,
    "choose": choose,
    "plot": draw,
    "diagnostics": lambda folder: plots.diagnostics(reading.metrics(folder / "metrics.parquet")),
    "report": report.write_report,
}


def test_whatever_is_damaged_is_named(run_folder, tmp_path):
    failures, tried, refused = [], 0, 0
    for index, (name, damage) in enumerate(cases(run_folder)):
        copy = shutil.copytree(run_folder, tmp_path / f"copy{index}", ignore=lambda *_: ["default"])
        damage(copy)
        # Pictures of a whole table cost a second, and nothing of them is new where the table is as it was.
        readers = READERS if name.startswith("metrics") else {"read": trained.read, "choose": choose, "report": page}
        for kind, read in readers.items():
            tried += 1
            try:
                refused += attempt(read, copy) is not None
            except AssertionError as error:
                failures.append(f"{name}: {kind}: {error}")
        shutil.rmtree(copy)
    assert not failures, f"{len(failures)} of {tried}:\n" + "\n".join(failures)
    assert index >= 200 and refused > 200


def page(folder):
    """The report of a folder, without the pictures of its metrics."""
    (folder / "metrics.parquet").unlink(missing_ok=True)
    report.write_report(folder)


def test_a_damaged_checkpoint_gives_way_to_a_whole_one(run_folder, tmp_path):
    older, newest = sorted(int(path.name) for path in (run_folder / "checkpoints").iterdir())
    for index, (name, damage) in enumerate(checkpoint_cases(run_folder)):
        copy = shutil.copytree(run_folder, tmp_path / f"whole{index}")
        damage(copy)
        record, table, member, _ = choose(copy)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, update = trained.restore(record, table, member, "latest")
        said = [str(warning.message) for warning in caught if "cannot be read and is skipped" in str(warning.message)]
        assert update in (older, newest) and len(said) <= 1 and (update == newest or said), (name, update, said)
        assert {str(older), str(newest)} <= {path.name for path in (copy / "checkpoints").iterdir()}
        shutil.rmtree(copy)
