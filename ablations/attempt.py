"""One attempt at a run, wherever it happens: on this machine or on a worker of a cluster.

It works in a directory of its own, ``WORK/NAME.RANDOM``, and gives back the content of its files. Only the runner
writes where complete runs lie.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dcbh_core.config import Config
from dcbh_core.methods import OWN, own_file

from .execution import NotebookError, execute
from .identity import TRAINING_NOTEBOOK, Identity, changed_sources, notebook, sources_of

CHECKPOINT = "checkpoint.pt"
NOTEBOOK = "notebook.ipynb"


@dataclasses.dataclass(frozen=True)
class Task:
    """All that an attempt takes, in plain values, so that it can be sent to another machine.

    Attributes:
        identity: Of the run.
        parameters: The resolved config; files of one's own by their names.
        own_files: Name -> content of each file of one's own that head, objective or recipe come from.
        work: Directory for attempts; None is the worker's own.
        threads: Of the arithmetic.
        timeout: Seconds until the notebook is interrupted, or None.
    """

    identity: Identity
    parameters: dict[str, Any]
    own_files: dict[str, bytes]
    work: str | None
    threads: int
    timeout: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        files: Path in the run directory -> content; of a failure only the executed notebook, if there is one.
        seconds: How long it took.
        error: None, or one line on what went wrong.
        log: The traceback of a failure.
    """

    files: dict[str, bytes]
    seconds: float
    error: str | None = None
    log: str = ""


def attempt(task: Task, cancelled: Callable[[], bool], environment: Mapping[str, str] | None = None) -> Outcome:
    """Execute the training notebook for one run; the training goes on from the checkpoint of an earlier attempt.

    Args:
        task: What is to be done.
        cancelled: Asked several times a second; once it is true, the attempt ends.
        environment: Variables to set for the notebook's kernel.

    Returns:
        The content of the run directory, or what went wrong.

    Raises:
        CancelledError: The attempt was cancelled; the checkpoint stays.
    """
    assert task.work is not None
    started, complete = time.monotonic(), False
    try:
        directory = take_over(Path(task.work), task.identity.name)
        executed = directory / NOTEBOOK
        try:
            config = unpacked(task, directory)
            check_sources(config, task.identity)
            parameters = {**config.to_dict(), "run_dir": str(directory)}
            source = notebook(TRAINING_NOTEBOOK)
            execute(source, executed, parameters, task.threads, task.timeout, cancelled, environment)
            check_sources(config, task.identity)
            files, complete = _read_files(directory), True
            return Outcome(files, time.monotonic() - started)
        except (NotebookError, OSError, ValueError) as error:
            log = error.log if isinstance(error, NotebookError) else ""
            return Outcome(_read_notebook(executed), time.monotonic() - started, str(error), log)
        finally:
            if complete or not (directory / CHECKPOINT).exists():
                shutil.rmtree(directory, ignore_errors=True)
    except OSError as error:
        return Outcome({}, time.monotonic() - started, str(error))


def unpacked(task: Task, directory: Path) -> Config:
    """The task's config, with its files of one's own laid into ``directory`` and named where they lie there.

    Raises:
        ValueError: A file of one's own cannot be executed here.
    """
    values = dict(task.parameters)
    for name, content in task.own_files.items():
        (directory / name).write_bytes(content)
    for name in OWN:
        file = own_file(values[name])
        if file is not None:
            values[name] = f"{directory / file[0].name}:{file[1]}"
    return Config.from_dict(values)


def take_over(work: Path, name: str) -> Path:
    """A new directory for an attempt at the run ``name``, with the newest checkpoint of those before it, which go.

    What an earlier attempt may still be writing, if its process was orphaned, leads into directories that are gone.
    """
    directory = work / f"{name}.{secrets.token_hex(4)}"
    earlier = attempts(work, name)
    directory.mkdir(parents=True)
    checkpoints = [path / CHECKPOINT for path in earlier if (path / CHECKPOINT).exists()]
    if checkpoints:
        with contextlib.suppress(FileNotFoundError):  # an orphan has just become complete and removed it
            os.replace(max(checkpoints, key=lambda path: path.stat().st_mtime), directory / CHECKPOINT)
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)
    return directory


def attempts(work: Path, name: str) -> list[Path]:
    """The directories of attempts at the run ``name``."""
    return [path for path in work.glob(f"{name}.*") if path.is_dir()]


def check_sources(config: Config, identity: Identity) -> None:
    """Refuse a source that is not that of the run's identity any more: a long batch outlasts many an edit.

    Raises:
        NotebookError: A source was changed; it is named.
    """
    changed = changed_sources(identity.sources, sources_of(config))
    if changed:
        raise NotebookError(f"{', '.join(changed)} was changed while the suite ran; start it again")


def _read_files(directory: Path) -> dict[str, bytes]:
    if not (directory / "result.json").exists():
        raise NotebookError("the notebook left no result.json")
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def _read_notebook(path: Path) -> dict[str, bytes]:
    """The executed notebook of a failure; none if there is none, or only a part of one."""
    with contextlib.suppress(OSError, ValueError):
        content = path.read_bytes()
        json.loads(content)
        return {NOTEBOOK: content}
    return {}
