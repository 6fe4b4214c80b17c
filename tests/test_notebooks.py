"""The notebooks run from top to bottom, at a tiny size, and were committed with the outputs of a real run."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.long(minutes=0.2)

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds_of_outputs(notebook):
    """Of each cell the kinds of what it shows: text, values, pictures."""
    return [
        {kind for output in cell.outputs if output.get("name") != "stderr" for kind in output.get("data", {"text": ""})}
        for cell in code_cells(notebook)
    ]


@pytest.mark.slow
@every_notebook
def test_notebook_runs_and_shows_what_was_committed(path, monkeypatch):
    monkeypatch.setenv("RLX_TINY", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    committed = kinds_of_outputs(nbformat.read(path, as_version=4))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT}})
    assert kinds_of_outputs(client.execute()) == committed


@every_notebook
def test_notebook_is_committed_with_its_outputs(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run it from top to bottom"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)


def test_there_are_notebooks():
    names = {"01_quickstart", "02_prototype_a_loss", "03_offline", "04_verifiable_rewards"}
    assert {path.stem for path in NOTEBOOKS} >= names
