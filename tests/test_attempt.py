"""An attempt at a run leaves its result, or a checkpoint from which the next one goes on."""

from pathlib import Path

import pytest

from ablations import attempt, identity
from ablations.execution import NotebookError
from ablations.runner import plan, run_suite
from ablations.suite import load_suite
from tests.stub_suite import run_small


def test_a_run_whose_source_changed_while_it_ran_is_a_failure(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    honest = attempt.execute

    def execute(*arguments) -> None:
        honest(*arguments)
        (identity.CORE / "losses.py").write_text("a = 2")

    monkeypatch.setattr(attempt, "execute", execute)
    assert run_suite(load_suite(small).with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1) == 2
    assert len(fast) == 1
    assert "FAILED, losses.py was changed while the suite ran; start it again" in capsys.readouterr().err


def test_a_run_whose_faces_changed_while_the_suite_ran_is_a_failure(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    """The one that loads them thereafter; the one before it keeps its result."""
    honest = attempt.execute

    def execute(*arguments) -> None:
        honest(*arguments)
        monkeypatch.setenv("FACES", "those of somebody else")

    monkeypatch.setattr(attempt, "execute", execute)
    assert run_suite(load_suite(small).with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1) == 1
    said = capsys.readouterr().err
    assert "full 12 bits seed 0: MAP 0.530" in said
    assert "no_center 12 bits seed 0: FAILED, the faces were changed while the suite ran; start it again" in said


def test_a_notebook_that_leaves_no_result_is_a_failure(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    """Even if an earlier start had left one."""
    name = plan(load_suite(small), tmp_path)[0].identity.name
    stale = tmp_path / ".work" / f"{name}.earlier"
    stale.mkdir(parents=True)
    (stale / "result.json").write_text("{}")
    (stale / "checkpoint.pt").write_text("a state")
    monkeypatch.setattr(attempt, "execute", lambda *arguments: None)
    run_small(small, tmp_path, bits=12, seed=0)
    assert "result.json" in (tmp_path / "failed" / name / "error.txt").read_text()


def test_of_an_executed_notebook_that_was_cut_short_nothing_is_kept(
    small: str, fast: list, tmp_path: Path, monkeypatch
) -> None:
    def execute(source, output, *rest) -> None:
        output.write_text('{"cells": [')
        raise NotebookError("no space left")

    monkeypatch.setattr(attempt, "execute", execute)
    assert run_suite(load_suite(small).with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1, only=["full"]) == 1
    assert [path.name for path in tmp_path.glob("failed/*/*")] == ["error.txt"]


def test_a_checkpoint_outlives_a_failed_attempt_and_goes_to_the_next(
    small: str, fast: list, tmp_path: Path, monkeypatch
) -> None:
    honest, found = attempt.execute, []

    def execute(source, output, parameters, *rest) -> None:
        checkpoint = Path(parameters["run_dir"]) / "checkpoint.pt"
        found.append(checkpoint.read_text() if checkpoint.exists() else None)
        if len(found) == 1:
            checkpoint.write_text("half way")
            raise NotebookError("out of luck")
        checkpoint.unlink()
        honest(source, output, parameters, *rest)

    monkeypatch.setattr(attempt, "execute", execute)
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    assert run_suite(suite, tmp_path, jobs=1, only=["full"]) == 1
    assert run_suite(suite, tmp_path, jobs=1, only=["full"]) == 0
    assert found == [None, "half way"]


def test_an_orphan_cannot_write_where_its_successor_works(tmp_path: Path) -> None:
    before = attempt.take_over(tmp_path, "run")
    (before / "checkpoint.pt").write_text("half way")
    other = attempt.take_over(tmp_path, "run-2")
    after = attempt.take_over(tmp_path, "run")
    assert (after / "checkpoint.pt").read_text() == "half way"
    with pytest.raises(FileNotFoundError):
        (before / "checkpoint.pt").write_text("from an orphan")
    assert set(tmp_path.iterdir()) == {after, other}
