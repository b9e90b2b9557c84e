"""What the prose of the course relies on: a measured outcome that turns with the seed or the precision is none.

A cell shows such a sentence by ``course.outcome``, which keeps the answer in the metadata of its output. Here the
notebooks are run in other worlds (`make test-outcomes`), and each must give the answers of the committed one, which is
a world too: another machine's, with its own threads and its own precision.
"""

import json
import re
from pathlib import Path
from typing import Any

import papermill
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
WORLDS: dict[str, dict[str, object]] = {"another seed": {"seed": 1}, "float32": {"dtype": "float32"}}


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def recorded(path: Path) -> list[tuple[str, str]]:
    """Name and answer of each outcome in the outputs of a notebook, in order."""
    outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
    return [pair for output in outputs for pair in output.get("metadata", {}).get("outcome", {}).items()]


def calls(path: Path) -> int:
    return sum(len(re.findall(r"(?m)^\s*outcome\(", "".join(cell["source"]))) for cell in code_cells(path))


WITH_OUTCOMES = [path for path in NOTEBOOKS if calls(path)]


@pytest.mark.parametrize("path", WITH_OUTCOMES, ids=lambda p: p.stem)
def test_a_committed_notebook_holds_the_answer_of_each_of_its_outcomes(path):
    names = [name for name, _ in recorded(path)]
    assert len(set(names)) == len(names) == calls(path)


@pytest.mark.outcomes
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("path", WITH_OUTCOMES, ids=lambda p: p.stem)
def test_what_the_prose_relies_on_does_not_turn(path, world, tmp_path, monkeypatch):
    known = papermill.inspect_notebook(path)
    changed = {name: value for name, value in WORLDS[world].items() if name in known}
    if not changed:
        pytest.skip(f"nothing in {path.stem} depends on it")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    own = {name: str(tmp_path / name) for name in ("run_dir", "out") if name in known}  # trained in this world
    output = tmp_path / "out.ipynb"
    papermill.execute_notebook(path, output, changed | own, cwd=path.parent, progress_bar=False)
    assert dict(recorded(output)) == dict(recorded(path))
