"""One try at a cell, wherever it runs: on this machine or on a worker of a cluster.

It works in a directory of its own, ``WORK/NAME.RANDOM``, and gives back the content of its files. Only the runner
writes where complete cells lie.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .execution import NotebookError, execute
from .identity import TRAINING_NOTEBOOK, Identity, code_hash, notebook

CHECKPOINT = "checkpoint.pt"
NOTEBOOK = "notebook.ipynb"


@dataclasses.dataclass(frozen=True)
class Task:
    """All that a try at a cell takes, in plain values, so that it can be sent to another machine."""

    identity: Identity
    parameters: dict[str, Any]  # the resolved config
    work: str | None  # directory for tries; None is the worker's own
    threads: int
    timeout: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one try.

    Parameters:
        files: path in the run directory -> content; of a failed try only the executed notebook, if there is one.
        seconds: how long it took.
        error: None, or one line on what went wrong.
        log: of a failed try, its traceback.
    """

    files: dict[str, bytes]
    seconds: float
    error: str | None = None
    log: str = ""


def attempt(task: Task, cancelled: Callable[[], bool], environment: Mapping[str, str] | None = None) -> Outcome:
    """Execute the training notebook for one cell; the training goes on from the checkpoint of an earlier try.

    Raises:
        CancelledError: ``cancelled()`` became true; the checkpoint stays.
    """
    assert task.work is not None
    started, complete = time.monotonic(), False
    try:
        directory = take_over(Path(task.work), task.identity.name)
        executed = directory / NOTEBOOK
        try:
            check_code(task.identity)
            parameters = {**task.parameters, "run_dir": str(directory)}
            source = notebook(TRAINING_NOTEBOOK)
            execute(source, executed, parameters, task.threads, task.timeout, cancelled, environment)
            check_code(task.identity)
            files, complete = _read_files(directory), True
            return Outcome(files, time.monotonic() - started)
        except (NotebookError, OSError) as error:
            files = {NOTEBOOK: executed.read_bytes()} if executed.exists() else {}
            log = error.log if isinstance(error, NotebookError) else ""
            if "delete it to start again" in str(error):  # the checkpoint is damaged; the next try begins anew
                (directory / CHECKPOINT).unlink(missing_ok=True)
            return Outcome(files, time.monotonic() - started, str(error), log)
        finally:
            if complete or not (directory / CHECKPOINT).exists():
                shutil.rmtree(directory, ignore_errors=True)
    except OSError as error:
        return Outcome({}, time.monotonic() - started, str(error))


def take_over(work: Path, name: str) -> Path:
    """A new directory for a try at the cell ``name``, with the newest checkpoint of those before it; these are removed.

    What an earlier try may still be writing, if its process was orphaned, leads into directories that are gone.
    """
    directory = work / f"{name}.{secrets.token_hex(4)}"
    earlier = tries(work, name)
    directory.mkdir(parents=True)
    checkpoints = [path / CHECKPOINT for path in earlier if (path / CHECKPOINT).exists()]
    if checkpoints:
        with contextlib.suppress(FileNotFoundError):  # an orphan has just become complete and removed it
            os.replace(max(checkpoints, key=lambda path: path.stat().st_mtime), directory / CHECKPOINT)
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)
    return directory


def tries(work: Path, name: str) -> list[Path]:
    """The directories of tries at the cell ``name``."""
    return [path for path in work.glob(f"{name}.*") if path.is_dir()]


def check_code(identity: Identity) -> None:
    """A long run outlasts many an edit: no cell may bear the identity of code that it did not run."""
    if code_hash() != identity.code:
        raise NotebookError("the code was changed while the suite ran; start it again")


def _read_files(directory: Path) -> dict[str, bytes]:
    if not (directory / "result.json").exists():
        raise NotebookError("the notebook left no result.json")
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
