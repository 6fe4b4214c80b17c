"""Every claim runs, verdicts follow from the numbers, and the page is made of the records."""

from pathlib import Path

import numpy as np
import pytest

from experiments.claims import verdicts
from experiments.claims.__main__ import main
from rlx import catalog
from rlx.cli import run

pytestmark = pytest.mark.long(minutes=0.4)

PAGE = Path(__file__).parents[3] / "docs" / "claims.md"
SEEDS = np.arange(16.0)


@pytest.mark.parametrize(
    ("method", "baseline", "direction", "verdict"),
    [
        (SEEDS + 1, SEEDS, "higher", "shown"),
        (SEEDS + 1, SEEDS, "lower", "contradicted"),
        (SEEDS[::-1], SEEDS, "higher", "open"),
        (SEEDS - 1, SEEDS, "lower", "shown"),
        (SEEDS + 1, 0.5, "higher", "shown"),
        # A diverged run is as bad as the worst that is finite, whatever the direction.
        (np.where(SEEDS < 12, np.nan, 5.0), np.full(16, 1.0), "higher", "open"),
        (np.where(SEEDS < 2, np.inf, 0.0), np.full(16, 1.0), "lower", "shown"),
    ],
)
def test_verdicts(method, baseline, direction, verdict):
    judged = verdicts.judge(verdicts.Finding("it is so", "number", method, baseline, direction))
    assert judged["verdict"] == verdict
    low, high = judged["interval"]
    assert low <= judged["difference"] <= high


@pytest.mark.slow
@pytest.mark.parametrize("name", verdicts.claims())
def test_a_claim_runs(name):
    claim = verdicts.claims()[name]
    record, curves = verdicts.record(name, claim, claim.quick)
    assert record["findings"] and all(len(finding["interval"]) == 2 for finding in record["findings"])
    assert claim.bench in verdicts.BENCHES
    if curves is not None:
        lines = [values for panel in curves.panels.values() for values in panel.values()]
        assert lines and all(np.shape(values) == (claim.quick.num_seeds, len(curves.x)) for values in lines)
    known = catalog.public_functions()
    assert [function for function in claim.functions if function not in known] == []


def test_records_are_those_of_claims_and_the_page_shows_them():
    records = verdicts.results()
    assert {record["name"] for record in records} <= verdicts.claims().keys()
    for record in records:
        seeds = {finding["num_seeds"] for finding in record["findings"]}
        assert min(seeds) >= 8, record["name"]
        assert record["has_picture"] == (PAGE.parent / "claims" / f"{record['name']}.png").exists(), record["name"]
    assert PAGE.read_text() == verdicts.markdown(records), "docs/claims.md is stale: run make docs"


def test_the_command(tmp_path, capsys):
    name = min(verdicts.claims())
    assert run(main, []) == 0
    assert name in capsys.readouterr().out
    assert run(main, ["qqq"]) == 2
    assert "no claim 'qqq'" in capsys.readouterr().err
