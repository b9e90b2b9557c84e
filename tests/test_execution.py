"""The real papermill executes notebooks, and what it starts does not outlive the process that asked for them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil

from ablations import identity
from ablations.identity import read_run
from ablations.runner import plan, run_suite
from ablations.suite import load_suite
from dcbh_core import DCBH
from tests.stub_suite import OWN, wait_for, write_suite


def test_papermill_makes_runs_and_keeps_what_failed(small: str, tmp_path: Path) -> None:
    """The real thing: one run that succeeds, one that raises, one whose kernel dies."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 7, 9]})
    assert run_suite(suite, tmp_path, jobs=2, only=["full"]) == 2
    complete, raised, died = plan(suite, tmp_path, ["full"])
    assert (complete.complete, raised.complete, died.complete) == (True, False, False)
    directory = tmp_path / "complete" / complete.identity.name
    assert read_run(directory)["result"]["environment"]["threads"] == "1"
    assert nbformat.read(directory / "notebook.ipynb", as_version=4).cells[-1].execution_count
    error = (tmp_path / "failed" / raised.identity.name / "error.txt").read_text()
    assert error.splitlines()[-1] == "ZeroDivisionError: seed seven is unlucky"
    assert "Traceback" in error
    assert "\x1b" not in error
    assert "ZeroDivisionError" in (tmp_path / "failed" / raised.identity.name / "notebook.ipynb").read_text()
    assert "Kernel died" in (tmp_path / "failed" / died.identity.name / "error.txt").read_text()


def test_the_training_notebook_trains_a_method_of_ones_own_on_the_validation_part(
    still_core: Path, tmp_path: Path
) -> None:
    """The shipped notebook, in which the constant of that method does not occur."""
    tiny = {"dataset": "orl", "width": 0.05, "epochs": 1, "bits": 8, "device": "cpu", "dtype": "float32"}
    (tmp_path / "pull.py").write_text(OWN)
    own = {"objective": "pull.py:Pull", "tau": 0.4}
    path = write_suite(tmp_path / "own.yaml", base={**tiny, "scored_on": "validation"}, variants={"own": own}, grid={})
    assert run_suite(load_suite(path), tmp_path, jobs=1) == 0
    [directory] = (tmp_path / "complete").iterdir()
    result = read_run(directory)["result"]
    assert (result["config"]["objective"], result["config"]["tau"]) == ("pull.py:Pull", 0.4)
    assert 0 < result["metrics"]["unseen_map"] < 1
    assert DCBH.load(directory / "model", device="cpu", own_code=True).config.tau == 0.4
    with np.load(directory / "evaluation.npz") as arrays:
        people = [len(np.unique(arrays[f"{part}_labels"])) for part in ("queries", "new_queries")]
    assert people == [30, 10]


def test_an_interrupt_ends_all_children_and_says_how_to_go_on(small: str, tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from ablations import identity; from ablations.__main__ import main\n"
        f"identity.NOTEBOOKS = pathlib.Path({str(identity.NOTEBOOKS)!r})\n"
        f"identity.CORE = pathlib.Path({str(identity.CORE)!r})\n"
        "identity.faces_hash = lambda config: 'faces'\n"
        f"sys.exit(main(['run', {small!r}, '--set', 'seed=8', '--out', {str(tmp_path / 'runs')!r}, '--jobs', '2']))"
    )
    # A job in the background inherits an ignored SIGINT; the process under test is to hear it wherever the tests run.
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + script
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "runs" / ".work"
    pids = wait_for(lambda: list(partial.glob("*/pid")) if len(list(partial.glob("*/pid"))) == 2 else [])
    time.sleep(0.2)  # until written
    pids = [int(path.read_text()) for path in pids]
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130
    command = f"python -m ablations run {small} --set seed=8 --out {tmp_path / 'runs'} --jobs 2"
    assert messages.splitlines()[-1] == f"interrupted; go on with: {command}"
    assert not (tmp_path / "runs" / "failed").exists()
    assert wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
