"""Shared by all tests: one thread (two run side by side), a tiny set of synthetic faces, and a small suite."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ablations import attempt, identity
from ablations.execution import NotebookError
from dcbh_core import DCBH, Config, Faces, Training, train
from dcbh_core.training import History
from tests.stub_suite import NAMES, REPORT_STUB, STUB, write_notebook, write_suite

torch.set_num_threads(1)

SOLUTIONS = Path(__file__).resolve().parent.parent / "notebooks/course/solutions"
# For tests of the answers: a class gets the course without that directory. A single file that is missing is an error.
answered = pytest.mark.skipif(not SOLUTIONS.exists(), reason="the answers, course/solutions, have been taken out")


def synthetic_faces(people: int, each: int, seed: int = 0) -> Faces:
    """Each person is a fixed random picture plus noise: learnable in a few epochs."""
    rng = np.random.default_rng(seed)
    portraits = rng.integers(0, 256, (people, 1, 3, 8, 8)).repeat(4, 3).repeat(4, 4)
    noise = rng.normal(0, 25, (people, each, 3, 32, 32))
    images = np.clip(portraits + noise, 0, 255).astype(np.uint8).reshape(-1, 3, 32, 32)
    return Faces(images, np.repeat(np.arange(people), each), [f"person {i}" for i in range(people)])


class Interrupted(Exception):
    pass


def resumed(config: Config, faces: Faces, path: Path, stop: int) -> tuple[DCBH, History]:
    """What comes of a training that is interrupted after ``stop`` epochs and begun again."""
    run_epoch = Training.run_epoch

    def interrupted(self: Training) -> dict[str, float]:
        if self.epoch == stop and self.epochs == config.epochs:  # not in a rehearsal
            raise Interrupted
        return run_epoch(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "run_epoch", interrupted)
        with pytest.raises(Interrupted):
            train(config, faces, path, checkpoint_seconds=0)
    return train(config, faces, path, checkpoint_seconds=0)


@pytest.fixture(scope="session")
def tiny() -> Faces:
    return synthetic_faces(people=4, each=6)


@pytest.fixture
def still_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for the sources of the core, so that nobody edits them meanwhile."""
    core = tmp_path / "core"
    core.mkdir()
    for name in ("losses.py", "figures.py", "peers.py"):
        (core / name).write_text("a = 1")
    (tmp_path / "run_directory.py").write_text("a = 1")
    monkeypatch.setattr(identity, "CORE", core)
    monkeypatch.setattr(identity, "RUN_DIRECTORY", tmp_path / "run_directory.py")
    return core


@pytest.fixture
def small(still_core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of the small suite, with stub notebooks and made-up faces."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    defaults = "\n".join(f"{name} = None" for name in ("run_dir", *NAMES))
    write_notebook(notebooks / identity.TRAINING_NOTEBOOK, defaults, STUB)
    report_defaults = "suite = out = settings = where = metric = report_dir = None"
    write_notebook(notebooks / identity.REPORT_NOTEBOOK, report_defaults, REPORT_STUB)
    monkeypatch.setattr(identity, "NOTEBOOKS", notebooks)
    monkeypatch.setattr(
        identity,
        "faces_hash",
        lambda config: f"faces of {config.dataset}, split {config.data().split_seed}, {config.scored_on}",
    )
    return write_suite(tmp_path / "small.yaml")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Runs the stub in this process instead of papermill; returns the list of the parameters of all executions."""
    executed = []

    def execute(source, output, parameters, *rest):
        executed.append(parameters)
        output.write_text("{}")
        try:
            exec(STUB, dict(parameters))
        except ZeroDivisionError as error:
            message = f"ZeroDivisionError: {error}"
            raise NotebookError(message, f"Traceback\n{message}") from None

    monkeypatch.setattr(attempt, "execute", execute)
    return executed
