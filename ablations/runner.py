"""Runs the cells of a suite: each is one execution of the training notebook by papermill, in a process of its own.

Under the output directory: ``cells/NAME`` (complete, or not there), ``cells/.partial/NAME`` (running, or waiting to go
on from a checkpoint) and ``failed/NAME`` (the notebook and the traceback of a failure).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from .identity import TRAINING_NOTEBOOK, Identity, code_hash, identify, notebook, read_cell
from .suite import Cell, Suite

# One name for each library that may do the arithmetic.
THREAD_VARIABLES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")

_running: set[subprocess.Popen[bytes]] = set()
_interrupted = threading.Event()


class NotebookError(RuntimeError):
    """A notebook failed; the message is the last line of its error."""


@dataclasses.dataclass(frozen=True)
class Planned:
    """A cell of the suite, and whether it has been run already."""

    cell: Cell
    identity: Identity
    complete: bool


@dataclasses.dataclass(frozen=True)
class Task:
    """All that running a cell takes, in plain values, so that it can be sent to another process."""

    identity: Identity
    parameters: dict[str, Any]  # the resolved config
    notebook: str
    out: str
    threads: int
    cwd: str


def plan(suite: Suite, out: Path, only: Sequence[str] = ()) -> list[Planned]:
    """The suite's cells (of the variants ``only``, or of all), and whether each is complete in ``out``.

    Raises:
        ValueError, OSError: anything that would keep a cell from running: a config, a data set, an unknown variant.
    """
    chosen = suite.select(only or suite.variants)
    cells = [cell for cell in suite.cells() if cell.variant in chosen]
    identities = identify(cell.config for cell in cells)
    return [Planned(c, i, _is_complete(out / "cells" / i.name, i)) for c, i in zip(cells, identities, strict=True)]


def run(suite: Suite, out: Path, jobs: int, threads: int = 1, only: Sequence[str] = ()) -> int:
    """Run what is not complete yet, ``jobs`` cells at a time; one line per cell on standard error.

    Cells with one identity run once. A failed cell does not stop the others.

    Returns:
        The number of failed cells.

    Raises:
        ValueError, OSError: as ``plan`` does, before any cell starts.
        KeyboardInterrupt: passed on once all children have been ended.
    """
    planned: dict[str, Planned] = {}
    for cell in plan(suite, out, only):
        planned.setdefault(cell.identity.name, cell)
    waiting = [cell for cell in planned.values() if not cell.complete]
    _say(f"{suite.name}: {len(planned)} cells, {len(planned) - len(waiting)} complete, {len(waiting)} to do")
    (out / "cells" / ".partial").mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    started = time.monotonic()
    _interrupted.clear()
    with ThreadPoolExecutor(jobs) as executor, tqdm(total=len(waiting), disable=None, file=sys.stderr) as bar:
        futures: dict[Future[tuple[float, float]], Planned] = {}
        try:
            for cell in waiting:
                futures[executor.submit(run_cell, _task(cell, out, threads))] = cell
            for number, future in enumerate(as_completed(futures), start=1):
                cell = futures[future]
                try:
                    score, seconds = future.result()
                    news = f"MAP {score:.3f}, {seconds:.0f} s"
                except Exception as error:  # whatever it was, the other cells go on
                    failures[cell.identity.name] = str(error)
                    news = f"FAILED, {error}"
                left = (time.monotonic() - started) / number * (len(waiting) - number)
                if left:
                    news += f", about {_duration(left)} left"
                _say(f"[{number:{len(str(len(waiting)))}}/{len(waiting)}] {cell.cell.label}: {news}")
                bar.update()
        except KeyboardInterrupt:
            _end_all(executor, futures)
            raise
    if failures:
        _say(f"{len(failures)} of {len(waiting)} cells failed:")
    for name, message in failures.items():
        _say(f"  {planned[name].cell.label}: {message} (see {out / 'failed' / name})")
    return len(failures)


def run_cell(task: Task) -> tuple[float, float]:
    """Run one cell and make its directory appear, complete, in ``out/cells``.

    Returns:
        MAP, and the seconds it took.

    Raises:
        NotebookError: the notebook failed; it is kept in ``out/failed``, and its checkpoint stays for the next try.
        CancelledError: the run was interrupted.
    """
    out, name, started = Path(task.out), task.identity.name, time.monotonic()
    partial, complete, failed = out / "cells" / ".partial" / name, out / "cells" / name, out / "failed" / name
    executed, log = partial / "notebook.ipynb", partial.with_suffix(".log")
    partial.mkdir(parents=True, exist_ok=True)
    for left_over in (partial / "result.json", executed):
        left_over.unlink(missing_ok=True)
    try:
        _check_code(task)
        execute(
            Path(task.notebook), executed, {**task.parameters, "run_dir": str(partial)}, log, task.threads, task.cwd
        )
        _check_code(task)
        content = {"identity": dataclasses.asdict(task.identity), "config": task.parameters}
        (partial / "cell.json").write_text(json.dumps(content, indent=1), "utf-8")
        score = float(read_cell(partial)["result"]["metrics"]["map"])
    except (NotebookError, ValueError, OSError) as error:
        shutil.rmtree(failed, ignore_errors=True)
        failed.mkdir(parents=True)
        if executed.exists():
            executed.rename(failed / "notebook.ipynb")
        messages = log.read_text("utf-8", errors="replace") if log.exists() else ""
        log.unlink(missing_ok=True)
        (failed / "error.txt").write_text(f"{messages}\n{error}\n", "utf-8")
        raise NotebookError(str(error)) from None
    if complete.exists():  # damaged: a complete one is not run again
        shutil.rmtree(complete)
    partial.rename(complete)
    log.unlink()
    shutil.rmtree(failed, ignore_errors=True)
    return score, time.monotonic() - started


def execute(
    source: Path, output: Path, parameters: dict[str, Any], log: Path, threads: int = 1, cwd: str | None = None
) -> None:
    """Execute a notebook with papermill in a new process, with ``threads`` threads.

    Parameters:
        source, output: the notebook, and where the executed one goes.
        parameters: plain values for its cell tagged ``parameters``.
        log: a file for what papermill says.
        cwd: working directory of the kernel; by default this process's own.

    Raises:
        NotebookError: with the last line of the log.
        CancelledError: the process was ended by an interrupt.
    """
    parameter_file = log.with_suffix(".yaml")
    parameter_file.write_text(yaml.safe_dump(parameters), "utf-8")
    command = [sys.executable, "-m", "papermill", str(source), str(output), "-f", str(parameter_file)]
    command += [
        "--cwd",
        cwd or os.getcwd(),
        "--no-progress-bar",
        "-k",
        "python3",
        "-l",
        "python",
        "--log-level",
        "WARNING",
    ]
    environment = {**os.environ, "TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONHASHSEED": "0"}
    environment |= {f"{library}_NUM_THREADS": str(threads) for library in THREAD_VARIABLES}
    if _interrupted.is_set():
        raise CancelledError
    with log.open("wb") as messages:
        # A session of its own: Ctrl-C in the terminal reaches the runner alone, which then ends its children.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        _running.add(process)
        try:
            status = process.wait()
        finally:
            _kill(process)
            _running.discard(process)
    parameter_file.unlink()
    if _interrupted.is_set():
        raise CancelledError
    if status != 0:
        text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", errors="replace"))
        log.write_text(text, "utf-8")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        ended = f"papermill was ended by {signal.Signals(-status).name}" if status < 0 else "papermill failed"
        raise NotebookError(lines[-1] if lines and status > 0 else ended)


def _task(planned: Planned, out: Path, threads: int) -> Task:
    config = planned.cell.config.resolved()
    if config.root is not None:
        config = dataclasses.replace(config, root=os.path.abspath(config.root))
    source = str(notebook(TRAINING_NOTEBOOK))
    return Task(planned.identity, config.to_dict(), source, os.path.abspath(out), threads, os.getcwd())


def _check_code(task: Task) -> None:
    """A long run outlasts many an edit: no cell may bear the identity of code that it did not run."""
    if code_hash() != task.identity.code:
        raise NotebookError("the code was changed while the suite ran; start it again")


def _is_complete(directory: Path, identity: Identity) -> bool:
    try:
        return bool(read_cell(directory)["identity"] == dataclasses.asdict(identity))
    except (OSError, ValueError):
        return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End papermill if it still runs; its kernel, in a session of its own, notices within a second and ends itself."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_all(executor: ThreadPoolExecutor, futures: dict[Future[tuple[float, float]], Planned]) -> None:
    """End every child, and see that no further one starts."""
    _interrupted.set()
    executor.shutdown(wait=False, cancel_futures=True)
    while not all(future.done() for future in futures):
        for process in list(_running):
            _kill(process)
        time.sleep(0.05)


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
