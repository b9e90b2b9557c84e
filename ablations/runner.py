"""Runs the cells of a suite until each is complete, whatever is killed in between.

Under the output directory: ``cells/NAME`` (complete, or not there), ``failed/NAME`` (the notebook and the traceback of
a failure), and ``.work`` with tries that run or wait to go on from a checkpoint, locks, and what `status` reads.

A cell is run by the runner that holds its lock, which the operating system takes back when the runner ends, in whatever
way. Another runner on the same directory takes other cells meanwhile, and in the end waits for those that are held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from dcbh_core.config import Config

from .attempt import NOTEBOOK, Outcome, Task, tries
from .identity import Identity, identify, parse_cell, read_cell
from .suite import Cell, Suite
from .workers import Resolve, Workers, cluster_workers, local_workers, work_directory

POLL_SECONDS = 1.0  # between looks at workers that come and go, and at cells that another runner holds


@dataclasses.dataclass(frozen=True)
class Planned:
    """A cell of the suite, its config resolved for where it is to run, and whether it has been run already."""

    cell: Cell
    config: Config
    identity: Identity
    complete: bool


def plan(suite: Suite, out: Path, only: Sequence[str] = (), resolve: Resolve = Config.resolved) -> list[Planned]:
    """The suite's cells (of the variants ``only``, or of all), and whether each is complete in ``out``.

    Raises:
        ValueError, OSError: anything that would keep a cell from running: a config, a data set, an unknown variant.
    """
    chosen = suite.select(only or suite.variants)
    cells = [cell for cell in suite.cells() if cell.variant in chosen]
    identities = identify((cell.config for cell in cells), resolve)
    return [
        Planned(cell, resolve(cell.config), identity, _is_complete(out / "cells" / identity.name, identity))
        for cell, identity in zip(cells, identities, strict=True)
    ]


def run(
    suite: Suite,
    out: Path,
    jobs: int | None = None,
    threads: int = 1,
    only: Sequence[str] = (),
    *,
    timeout: float | None = None,
    retries: int = 0,
    scheduler: str | None = None,
    work: str | None = None,
    command: str = "",
) -> int:
    """Run what is not complete yet; one line per cell on standard error.

    Cells with one identity run once. A failed cell does not stop the others.

    Parameters:
        jobs, threads: cells at a time on this machine, and threads of each.
        timeout: seconds for one try at a cell.
        retries: how often a failed cell is tried again.
        scheduler, work: address of a dask scheduler, and a directory that all of its workers share, if there is one.
        command: what `status` says is to be typed to go on.

    Returns:
        The number of failed cells.

    Raises:
        ValueError, OSError: as ``plan`` does, before any cell starts; or ``out`` cannot be written to.
        KeyboardInterrupt: passed on once all children have been ended.
    """
    workers = cluster_workers(scheduler, work) if scheduler else local_workers(out, jobs, threads)
    with workers as available:
        planned: dict[str, Planned] = {}
        for cell in plan(suite, out, only, available.resolve):
            planned.setdefault(cell.identity.name, cell)
        with _writing(out):
            for directory in (out / "cells", work_directory(out)):
                directory.mkdir(parents=True, exist_ok=True)
            _write_plan(suite, out, list(planned.values()), command)
        batch = _Batch(suite.name, out, list(planned.values()), available, threads, timeout, retries)
        try:
            batch.run()
        except KeyboardInterrupt:
            _say(f"stopping: {batch.state()}")
            raise
    if batch.failures:
        _say(f"{len(batch.failures)} of {batch.to_do} cells failed:")
    for name, message in batch.failures.items():
        _say(f"  {planned[name].cell.label}: {message} (see {out / 'failed' / name})")
    return len(batch.failures)


class _Batch:
    """The cells of one run: waiting, running, done or failed."""

    def __init__(
        self,
        name: str,
        out: Path,
        planned: list[Planned],
        workers: Workers,
        threads: int,
        timeout: float | None,
        retries: int,
    ):
        self.name, self.out, self.workers = name, out, workers
        self.threads, self.timeout, self.retries = threads, timeout, retries
        self.waiting = deque(cell for cell in planned if not cell.complete)
        self.running: dict[Future[Outcome], tuple[Planned, FileLock]] = {}
        self.tries: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.all, self.to_do = len(planned), len(self.waiting)
        self.done, self.seconds = 0, 0.0
        self.count = workers.count()

    def run(self) -> None:
        _say(f"{self.name}: {self.all} cells, {self.all - self.to_do} complete, {self.to_do} to do")
        with tqdm(bar_format="{desc} [{elapsed}]", disable=None, file=sys.stderr) as line:
            while self.waiting or self.running:
                self._start()
                line.set_description_str(f"{self.name}: {self.state()}")
                if self.running:
                    for future in wait(self.running, POLL_SECONDS, FIRST_COMPLETED).done:
                        self._finish(future, *self.running.pop(future))
                elif self.waiting:
                    time.sleep(POLL_SECONDS)

    def state(self) -> str:
        """In words: done, failed, running, time left."""
        complete = self.all - self.to_do + self.done
        text = f"{complete} of {self.all} cells complete, {len(self.failures)} failed, {len(self.running)} running"
        return text + self._left()

    def _start(self) -> None:
        """Hand out waiting cells while there are workers, but for those that another runner has in hand."""
        count = self.workers.count()
        if not count and self.count:
            _say("no worker is left; waiting for one to join the cluster")
        self.count, places = count, count - len(self.running)
        for _ in range(len(self.waiting)):
            if places <= 0:
                return
            cell = self.waiting.popleft()
            with _writing(self.out):
                lock = _lock(self.out, cell.identity.name)
            if lock is None:
                self.waiting.append(cell)
            elif _is_complete(self.out / "cells" / cell.identity.name, cell.identity):
                lock.release()
                self._ended(cell, "run by another runner")
            else:
                task = Task(cell.identity, _parameters(cell), self.workers.work, self.threads, self.timeout)
                self.tries[cell.identity.name] += 1
                Path(lock.lock_file).touch()  # `status` tells from its time how long the cell has been running
                self.running[self.workers.executor.submit(self.workers.function, task)] = cell, lock
                places -= 1

    def _finish(self, future: Future[Outcome], cell: Planned, lock: FileLock) -> None:
        name = cell.identity.name
        try:
            outcome = future.result()
        except CancelledError:  # dask's word for a future that its scheduler does not know any more
            raise OSError("the dask scheduler was lost; start it and the same command again") from None
        except Exception as error:  # whatever befell a worker, the other cells go on
            outcome = Outcome({}, 0.0, f"{type(error).__name__}: {error}")
        try:
            with _writing(self.out):
                if outcome.error is None:
                    outcome = _keep(self.out, cell, outcome)
                if outcome.error is not None:
                    _keep_failure(self.out, name, outcome)
        finally:
            lock.release()
        if outcome.error is None:
            self.seconds += outcome.seconds
            score = json.loads(outcome.files["result.json"])["metrics"]["map"]
            self._ended(cell, f"MAP {score:.3f}, {outcome.seconds:.0f} s")
        elif self.tries[name] <= self.retries:
            self.waiting.append(cell)
            _say(f"{cell.cell.label}: {outcome.error}; it will be tried again ({self.tries[name]} of {self.retries})")
        else:
            self.failures[name] = outcome.error
            self._ended(cell, f"FAILED, {outcome.error}")

    def _ended(self, cell: Planned, news: str) -> None:
        self.done = self.to_do - len(self.waiting) - len(self.running) - len(self.failures)
        number = self.done + len(self.failures)
        _say(f"[{number:{len(str(self.to_do))}}/{self.to_do}] {cell.cell.label}: {news}{self._left()}")

    def _left(self) -> str:
        remaining = len(self.waiting) + len(self.running)
        if not self.done or not self.seconds or not remaining:
            return ""
        return f", about {duration(self.seconds / self.done * remaining / max(1, self.count))} left"


def status(out: Path) -> str:
    """What the batches in the output directory ``out`` have done, do, and have yet to do, in words.

    Raises:
        FileNotFoundError: there is none.
    """
    plans = sorted(work_directory(out).glob("*.plan.json"), key=lambda path: path.stat().st_mtime)
    if not plans:
        raise FileNotFoundError(f"no suite was ever run in {out}")
    return "\n".join(line for path in plans for line in _status(out, json.loads(path.read_text("utf-8"))))


def _status(out: Path, batch: dict[str, Any]) -> list[str]:
    seconds, running, failed = [], [], []
    for name, label in batch["cells"].items():
        try:
            seconds.append(float(read_cell(out / "cells" / name)["seconds"]))
            continue
        except (OSError, ValueError):
            pass
        lock = work_directory(out) / f"{name}.lock"
        if lock.exists() and (held := _lock(out, name)) is None:
            running.append(f"{label} ({duration(time.time() - lock.stat().st_mtime)})")
            continue
        if lock.exists() and held is not None:
            held.release()
        error = out / "failed" / name / "error.txt"
        if error.exists():
            failed.append(f"{label}: {error.read_text('utf-8').splitlines()[-1]} (see {error.parent})")
    waiting = len(batch["cells"]) - len(seconds) - len(running) - len(failed)
    head = f"{batch['suite']}: {len(seconds)} of {len(batch['cells'])} cells complete, {len(failed)} failed, "
    head += f"{len(running)} running, {waiting} waiting"
    if running and seconds:
        left = sum(seconds) / len(seconds) * (len(running) + waiting) / len(running)
        head += f", about {duration(left)} left"
    lines = [head, *(f"  running: {line}" for line in running), *(f"  failed: {line}" for line in failed)]
    if not running and len(seconds) < len(batch["cells"]):
        lines.append(f"  nothing runs; go on with: {batch['command']}")
    return lines


def _write_plan(suite: Suite, out: Path, planned: list[Planned], command: str) -> None:
    cells = {cell.identity.name: cell.cell.label for cell in planned}
    content = json.dumps({"suite": suite.name, "command": command, "cells": cells}, indent=1).encode()
    experiments = " ".join(sorted(cell.identity.experiment for cell in planned))
    path = work_directory(out) / f"{suite.name}.{hashlib.sha256(experiments.encode()).hexdigest()[:8]}.plan.json"
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    write_durably(partial, content)
    os.replace(partial, path)


def _parameters(cell: Planned) -> dict[str, Any]:
    config = cell.config
    if config.root is not None:
        config = dataclasses.replace(config, root=os.path.abspath(config.root))
    return config.to_dict()


def _is_complete(directory: Path, identity: Identity) -> bool:
    try:
        return bool(read_cell(directory)["identity"] == dataclasses.asdict(identity))
    except (OSError, ValueError):
        return False


def _lock(out: Path, name: str) -> FileLock | None:
    """The lock of a cell, or None if it is held; it ends with this process at the latest."""
    lock = FileLock(work_directory(out) / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _keep(out: Path, cell: Planned, outcome: Outcome) -> Outcome:
    """Make a cell's directory appear, complete, in ``out/cells``; a result that does not fit the cell is a failure."""
    result = outcome.files["result.json"]
    content = {
        "identity": dataclasses.asdict(cell.identity),
        "config": _parameters(cell),
        "seconds": outcome.seconds,
        "result_sha256": hashlib.sha256(result).hexdigest(),
    }
    about = json.dumps(content, indent=1).encode()
    try:
        parse_cell(about, result)
    except ValueError as error:
        return dataclasses.replace(outcome, error=str(error))
    name = cell.identity.name
    _appear(out, out / "cells" / name, {**outcome.files, "cell.json": about})
    for path in (out / "failed" / name, *tries(work_directory(out), name)):
        shutil.rmtree(path, ignore_errors=True)
    return outcome


def _keep_failure(out: Path, name: str, outcome: Outcome) -> None:
    files = {NOTEBOOK: outcome.files[NOTEBOOK]} if NOTEBOOK in outcome.files else {}
    files["error.txt"] = f"{outcome.log}\n{outcome.error}\n".lstrip().encode()
    _appear(out, out / "failed" / name, files)


def _appear(out: Path, directory: Path, files: Mapping[str, bytes]) -> None:
    """Make ``directory`` with ``files`` (path in it -> content) in one step, in place of one that is there."""
    token = secrets.token_hex(4)
    partial, replaced = (work_directory(out) / f"{directory.name}.{token}.{kind}" for kind in ("partial", "replaced"))
    try:
        for name, content in files.items():
            write_durably(partial / name, content)
        directory.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            directory.rename(replaced)
        partial.rename(directory)
    finally:
        for path in (partial, replaced):
            shutil.rmtree(path, ignore_errors=True)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is on the disk, not merely on its way there: a power cut leaves no empty file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write to {out}: {error.strerror or error}; nothing incomplete is counted, so make room there or "
            "choose another --out, and start again"
        ) from None


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
