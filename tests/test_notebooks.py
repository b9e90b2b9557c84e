"""The real thing, small: one ablation of two runs through papermill and its report, and every notebook executed."""

import json
import subprocess
import sys
from pathlib import Path

import papermill.cli
import pytest
from click.testing import CliRunner

from ablations.execution import execute
from dcbh_core import Config

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAINING = ROOT / "notebooks/04_train.ipynb"
ELSEWHERE = {"04_train", "08_authors_code"}  # executed by the ablation here, and by test_authors_code.py
SMALL = ["--set", "bits=12", "--set", "seed=0", "--set", "width=0.05", "--set", "epochs=1"]


def ablations(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ablations", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_ablation_of_two_runs_is_made_is_reported_and_is_not_made_again(tmp_path):
    where = ["orl_quick", *SMALL, "--out", str(tmp_path)]
    first = ablations("run", *where, "--only", "full", "fc")
    assert first.returncode == 0, first.stderr
    runs = sorted((tmp_path / "complete").glob("orl-*"))
    assert len(runs) == 2
    for run in runs:
        written = {path.name for path in run.iterdir()}
        assert {"result.json", "evaluation.npz", "history.csv", "model", "notebook.ipynb"} <= written
        assert 0 < json.loads((run / "result.json").read_text())["metrics"]["map"] <= 1
        assert "check(" not in (run / "notebook.ipynb").read_text()  # exercises are for readers
    assert "2 complete, 0 to do" in ablations("run", *where, "--only", "full", "fc").stderr
    report = ablations("report", *where)
    assert report.returncode == 0, report.stderr
    assert "| fc − full |" in report.stdout
    page = (tmp_path / "reports/orl_quick/report.html").read_text()
    assert "https://cdn" not in page
    assert "Exercise" not in page


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem not in ELSEWHERE], ids=lambda p: p.stem)
def test_a_notebook_runs_with_small_parameters(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    known = papermill.inspect_notebook(path)
    small = {"run_dir": str(tmp_path / "run"), "out": str(tmp_path), "epochs": 5, "seeds": 2, "width": 0.05}
    small |= {"shuffles": 20, "scanned": 5_000, "strangers": 20_000}
    parameters = {name: value for name, value in small.items() if name in known}
    papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters, cwd=path.parent, progress_bar=False)


def test_the_training_notebooks_parameters_are_the_fields_of_the_config_and_the_constants_of_dcbh():
    first, *names = papermill.inspect_notebook(TRAINING)
    assert first == "run_dir"
    assert sorted(names) == sorted(Config.names("dcbh"))


def train_with(tmp_path: Path, **parameters: object) -> dict[str, object]:
    """The config that notebook 4 reports for a run of its own, by a network as small as can be."""
    small = {"run_dir": str(tmp_path / "run"), "bits": 12, "width": 0.05, "epochs": 1, **parameters}
    papermill.execute_notebook(TRAINING, tmp_path / "out.ipynb", small, cwd=TRAINING.parent, progress_bar=False)
    return json.loads((tmp_path / "run/result.json").read_text())["config"]


def test_the_training_notebook_takes_an_objective_from_a_file_and_its_constants(tmp_path):
    file = "../ablations/suites/methods/arcface.py:ArcFace"
    config = train_with(tmp_path, objective=file, scale=8.0)
    assert (config["objective"], config["scale"]) == ("arcface.py:ArcFace", 8.0)


def test_the_training_notebook_refuses_a_constant_that_the_objective_does_not_have(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match=r"scale=8\.0 has no effect on objective 'dcbh'"):
        train_with(tmp_path, scale=8.0)


def test_a_run_directory_may_have_a_name_that_papermill_takes_for_a_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(TRAINING, tmp_path / "out.ipynb", {"run_dir": 2024, "bits": 12, "width": 0.05, "epochs": 1})
    assert (tmp_path / "2024" / "result.json").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bits", "forty", "bits must be a whole number, not 'forty'"),
        ("bits", "[12]", "bits must be a whole number, not '[12]'"),
        ("seed", "1.5", "seed must be a whole number, not 1.5"),
        ("new_people", "yes", "new_people must be a number, not 'yes'"),
        ("objective", "5", "objective must be a text, not 5"),
    ],
)
def test_a_parameter_of_a_wrong_type_is_one_sentence_before_any_work(tmp_path, monkeypatch, name, value, message):
    """As one types it; in the third cell, after the parameters and those that papermill injects."""
    monkeypatch.chdir(TRAINING.parent)
    options = ["-p", "run_dir", str(tmp_path / "run"), "-p", name, value, "--no-progress-bar"]
    arguments = [str(TRAINING), str(tmp_path / "out.ipynb"), *options]
    error = CliRunner().invoke(papermill.cli.papermill, arguments).exception
    assert isinstance(error, papermill.PapermillExecutionError)
    assert (error.exec_count, error.ename, error.evalue) == (3, "ValueError", message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_executed_and_small(path):
    assert path.stat().st_size < 1_000_000
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    assert not any(
        output.get("name") == "stderr" or output["output_type"] == "error"
        for cell in cells
        for output in cell["outputs"]
    )
