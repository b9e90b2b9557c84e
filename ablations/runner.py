"""Executes the runs of a suite until each is complete, whatever is killed in between.

Under the output directory: ``complete/NAME`` (complete, or not there), ``failed/NAME`` (the notebook and the traceback
of a failure), and ``.work`` with attempts that go on or wait to be resumed from a checkpoint, locks, and what `status`
reads.

A run belongs to the runner that holds its lock, which the operating system takes back when the runner ends, in whatever
way. Another runner on the same directory takes other runs meanwhile, and in the end waits for those that are held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import os
import secrets
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from dcbh_core.config import Config, Data
from dcbh_core.faces import load_split
from dcbh_core.losses import Objective
from dcbh_core.rehearsal import rehearse

from .attempt import NOTEBOOK, Outcome, Task, attempts
from .identity import Identity, changed_sources, complete_runs, identify, parse_run, read_run
from .suite import Run, Suite, located
from .workers import POLL_SECONDS, Resolve, Workers, cluster_workers, local_workers, resolved_here, work_directory


@dataclasses.dataclass(frozen=True)
class Planned:
    """A run of the suite and how it stands.

    Attributes:
        run: What was asked for.
        config: Its config, resolved for where it is to happen.
        own_files: Name -> content of each file of one's own that its head, objective or recipe come from. It may be
            edited while the batch runs.
        identity: Its identity there.
        complete: Whether it is complete already.
        changed: If not, but the same experiment is complete under another source: the files that are not the same.
    """

    run: Run
    config: Config
    own_files: dict[str, bytes]
    identity: Identity
    complete: bool
    changed: list[str]


def plan(
    suite: Suite,
    out: Path,
    only: Sequence[str] = (),
    resolve: Resolve = resolved_here,
    threads: int = 1,
    rehearsed: bool = False,
) -> list[Planned]:
    """The suite's runs, and whether each is complete in ``out``.

    Args:
        suite: Whose runs they are.
        out: The output directory.
        only: The variants that are wanted, by name or pattern; none means all.
        resolve: Fills in a config with the hardware of where it is to run.
        threads: Of each run.
        rehearsed: What is of one's own was tried before, in another process, and is not tried in this one.

    Raises:
        ValueError: Anything that would keep a run from starting: a config, a data set, a device, more people than an
            objective can serve, an unknown variant, or something of one's own that does not work.
        OSError: A data set cannot be loaded, or the training notebook is missing.
    """
    chosen = suite.select(only or suite.variants)
    runs = [run for run in suite.runs() if run.variant in chosen]
    for run in () if rehearsed else {_of_methods(run.config): run for run in runs}.values():
        with located(f"suite {suite.name!r}, {run.label}"):
            rehearse(run.config)
    identities = identify((run.config for run in runs), resolve, threads)
    people: dict[Data, int] = {}
    others = {
        (found["identity"]["settings"], found["identity"]["faces"], found["identity"]["threads"]): found
        for found in complete_runs(out)[::-1]
    }
    planned = []
    for run in runs:
        with located(f"suite {suite.name!r}, {run.label}"):
            identity, config = next(identities), resolve(run.config)
            _check_people(run.config, people)
        complete = _is_complete(out / "complete" / identity.name, identity)
        other = others.get((identity.settings, identity.faces, identity.threads))
        changed = changed_sources(other["identity"]["sources"], identity.sources) if other and not complete else []
        own_files = {name: path.read_bytes() for name, path in run.config.own_files().items()}
        planned.append(Planned(run, config, own_files, identity, complete, changed))
    return planned


def _check_people(config: Config, people: dict[Data, int]) -> None:
    """Refuse more people than the objective can serve; ``people`` keeps their number for each data set and split.

    Raises:
        ValueError: There are more.
    """
    objective, data = config.objective_class, config.data()
    if inspect.getattr_static(objective, "check_people") is inspect.getattr_static(Objective, "check_people"):
        return  # it serves any number, and the faces need not be loaded
    if data not in people:
        people[data] = load_split(config).training.num_identities
    objective.check_people(people[data], config.bits)


def _of_methods(config: Config) -> Config:
    """The config with what a rehearsal takes no notice of taken away, so that each method is rehearsed once."""
    return dataclasses.replace(config, seed=0, learning_rate=None, weight_decay=None, epochs=None, split_seed=None)


def run_suite(
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
    rehearsed: bool = False,
) -> int:
    """Execute what is not complete yet; one line per run on standard error.

    Runs with one identity happen once. A failed run does not stop the others.

    Args:
        suite: Whose runs they are.
        out: The output directory.
        jobs: Runs at a time on this machine.
        threads: Of each run.
        only: The variants to be run, by name or pattern; none means all.
        timeout: Seconds for one attempt.
        retries: How often a failed run is attempted again.
        scheduler: Address of a dask scheduler.
        work: With it, a directory that all of its workers share, if there is one.
        command: What `status` says is to be typed to go on.
        rehearsed: As in ``plan``.

    Returns:
        The number of failed runs.

    Raises:
        ValueError: As in ``plan``, before any run starts.
        OSError: As in ``plan``; or ``out`` cannot be written to, or there is no such scheduler.
        SchedulerLost: There is none any more.
        KeyboardInterrupt: It was interrupted; all children have been ended.
    """
    workers = cluster_workers(scheduler, work) if scheduler is not None else local_workers(out, jobs, threads)
    with workers as available:
        planned: dict[str, Planned] = {}
        for one in plan(suite, out, only, available.resolve, threads, rehearsed):
            planned.setdefault(one.identity.name, one)
        for line in other_source(list(planned.values())):
            _say(line)
        with _writing(out):
            for directory in (out / "complete", work_directory(out)):
                directory.mkdir(parents=True, exist_ok=True)
            _write_plan(suite, out, list(planned.values()), command)
        batch = _Batch(suite.name, out, list(planned.values()), available, threads, timeout, retries)
        try:
            batch.run()
        except KeyboardInterrupt:
            _say(f"stopping: {batch.state()}")
            raise
    if batch.failures:
        _say(f"{len(batch.failures)} of {batch.to_do} runs failed:")
    for name, message in batch.failures.items():
        _say(f"  {planned[name].run.label}: {message} (see {out / 'failed' / name})")
    return len(batch.failures)


def other_source(planned: Sequence[Planned]) -> list[str]:
    """What is complete under another source, in a sentence for each set of changed files; none if nothing is."""
    counts = Counter(", ".join(one.changed) for one in planned if one.changed)
    return [
        f"{count} of {len(planned)} runs are complete under another source ({changed} changed since) and are to be run "
        "again; `report --any-source` shows them as they are"
        for changed, count in counts.items()
    ]


class _Batch:
    """The runs of one start: waiting, running, done or failed."""

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
        self.waiting = deque(one for one in planned if not one.complete)
        self.running: dict[Future[Outcome], tuple[Planned, FileLock]] = {}
        self.attempts: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.all, self.to_do = len(planned), len(self.waiting)
        self.done, self.seconds = 0, 0.0
        self.count = workers.count()

    def run(self) -> None:
        """Hand out what is to do and take in what comes of it, until each run is complete or has failed."""
        _say(f"{self.name}: {self.all} runs, {self.all - self.to_do} complete, {self.to_do} to do")
        with tqdm(bar_format="{desc} [{elapsed}]", disable=None, file=sys.stderr) as line:
            while self.waiting or self.running:
                self._start()
                line.set_description_str(f"{self.name}: {self.state()}")
                if self.running:
                    ended = wait(self.running, POLL_SECONDS, FIRST_COMPLETED).done
                    while ended:
                        self._finish(ended.pop())
                elif self.waiting:
                    time.sleep(POLL_SECONDS)

    def state(self) -> str:
        """In words: done, failed, running, time left."""
        complete = self.all - self.to_do + self.done
        text = f"{complete} of {self.all} runs complete, {len(self.failures)} failed, {len(self.running)} running"
        return text + self._left()

    def _start(self) -> None:
        """Hand out waiting runs while there are workers, but for those that another runner has in hand."""
        count = self.workers.count()
        if not count and self.count:
            _say("no worker is left; waiting for one to join the cluster")
        self.count, places = count, count - len(self.running)
        for _ in range(len(self.waiting)):
            if places <= 0:
                return
            planned = self.waiting.popleft()
            with _writing(self.out):
                lock = _lock(self.out, planned.identity.name)
                if lock is not None:
                    _settle(self.out, planned.identity.name)
            if lock is None:
                self.waiting.append(planned)
            elif _is_complete(self.out / "complete" / planned.identity.name, planned.identity):
                lock.release()
                self._ended(planned, "run by another runner")
            else:
                own_files, work = planned.own_files, self.workers.work
                task = Task(planned.identity, _parameters(planned), own_files, work, self.threads, self.timeout)
                self.attempts[planned.identity.name] += 1
                with _writing(self.out):
                    _started(self.out, planned.identity.name).write_text(repr(time.time()))
                self.running[self.workers.submit(task)] = planned, lock
                places -= 1

    def _finish(self, future: Future[Outcome]) -> None:
        """Keep the result of an attempt, or what is left of a failure, and say so.

        No reference to the future may stay: dask makes anew what somebody holds when the worker dies that has made it.

        Raises:
            CancelledError: The attempt was cancelled, as those of a lost scheduler are.
        """
        planned, lock = self.running.pop(future)
        name = planned.identity.name
        error = future.exception()
        # Whatever befell a worker, the other runs go on.
        outcome = Outcome({}, 0.0, f"{type(error).__name__}: {error}") if error else future.result()
        try:
            with _writing(self.out):
                if outcome.error is None:
                    outcome = _keep(self.out, planned, outcome)
                if outcome.error is not None:
                    _keep_failure(self.out, name, outcome)
        finally:
            lock.release()
        if outcome.error is None:
            self.seconds += outcome.seconds
            score = json.loads(outcome.files["result.json"])["metrics"]["map"]
            self._ended(planned, f"MAP {score:.3f}, {outcome.seconds:.0f} s")
        elif self.attempts[name] <= self.retries:
            self.waiting.append(planned)
            again = f"it will be attempted again ({self.attempts[name]} of {self.retries})"
            _say(f"{planned.run.label}: {outcome.error}; {again}")
        else:
            self.failures[name] = outcome.error
            self._ended(planned, f"FAILED, {outcome.error}")

    def _ended(self, planned: Planned, news: str) -> None:
        self.done = self.to_do - len(self.waiting) - len(self.running) - len(self.failures)
        number = self.done + len(self.failures)
        _say(f"[{number:{len(str(self.to_do))}}/{self.to_do}] {planned.run.label}: {news}{self._left()}")

    def _left(self) -> str:
        remaining = len(self.waiting) + len(self.running)
        if not self.done or not self.seconds or not remaining:
            return ""
        return f", about {duration(self.seconds / self.done * remaining / max(1, self.count))} left"


def status(out: Path) -> str:
    """What the batches in the output directory ``out`` have done, do, and have yet to do, in words.

    Raises:
        FileNotFoundError: There are none.
    """
    plans = sorted(work_directory(out).glob("*.plan.json"), key=lambda path: path.stat().st_mtime)
    if not plans:
        raise FileNotFoundError(f"no suite was ever run in {out}")
    lines = []
    for path in plans:
        try:
            lines += _status(out, json.loads(path.read_text("utf-8")))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            lines.append(f"{path} is damaged; delete it, and start its suite again")
    return "\n".join(lines)


def _status(out: Path, batch: dict[str, Any]) -> list[str]:
    seconds, running, failed = [], [], []
    for name, label in batch["runs"].items():
        try:
            seconds.append(float(read_run(out / "complete" / name)["seconds"]))
            continue
        except (OSError, ValueError):
            pass
        if _is_held(out, name):
            running.append(f"{label}{_since(out, name)}")
            continue
        error = out / "failed" / name / "error.txt"
        if error.exists():
            failed.append(f"{label}: {error.read_text('utf-8').splitlines()[-1]} (see {error.parent})")
    waiting = len(batch["runs"]) - len(seconds) - len(running) - len(failed)
    head = f"{batch['suite']}: {len(seconds)} of {len(batch['runs'])} runs complete, {len(failed)} failed, "
    head += f"{len(running)} running, {waiting} waiting"
    if running and seconds:
        left = sum(seconds) / len(seconds) * (len(running) + waiting) / len(running)
        head += f", about {duration(left)} left"
    lines = [head, *(f"  running: {line}" for line in running), *(f"  failed: {line}" for line in failed)]
    if not running and len(seconds) < len(batch["runs"]):
        lines.append(f"  nothing runs; go on with: {batch['command']}")
    return lines


def _started(out: Path, name: str) -> Path:
    """The file that says when the last attempt at a run was started, in seconds since the epoch."""
    return work_directory(out) / f"{name}.started"


def _since(out: Path, name: str) -> str:
    try:
        seconds = time.time() - float(_started(out, name).read_text())
    except (OSError, ValueError):  # it starts in this moment
        return ""
    return f" ({duration(seconds)})" if seconds >= 0 else ""  # the clock was set back


def _write_plan(suite: Suite, out: Path, planned: list[Planned], command: str) -> None:
    runs = {one.identity.name: one.run.label for one in planned}
    content = json.dumps({"suite": suite.name, "command": command, "runs": runs}, indent=1).encode()
    experiments = " ".join(sorted(one.identity.settings + one.identity.faces for one in planned))
    name = suite.name.encode("utf-8", "ignore")[:200].decode("utf-8", "ignore")  # 255 bytes are a name's limit
    path = work_directory(out) / f"{name}.{hashlib.sha256(experiments.encode()).hexdigest()[:8]}.plan.json"
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        write_durably(partial, content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _parameters(planned: Planned) -> dict[str, Any]:
    values = planned.config.portable()
    if values["root"] is not None:
        values["root"] = os.path.abspath(os.path.expanduser(values["root"]))
    return values


def _is_complete(directory: Path, identity: Identity) -> bool:
    try:
        return bool(read_run(directory)["identity"] == dataclasses.asdict(identity))
    except (OSError, ValueError):
        return False


def _lock(out: Path, name: str) -> FileLock | None:
    """The lock of a run, or None if it is held; it ends with this process at the latest."""
    lock = FileLock(work_directory(out) / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _is_held(out: Path, name: str) -> bool:
    """Whether a runner holds the lock of a run; where it lies may be another user's, and not to be written to."""
    import fcntl

    with contextlib.suppress(FileNotFoundError), (work_directory(out) / f"{name}.lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _keep(out: Path, planned: Planned, outcome: Outcome) -> Outcome:
    """Make a run's directory appear, complete, in ``out/complete``; a result that does not fit the run is a failure."""
    result = outcome.files["result.json"]
    content = {
        "identity": dataclasses.asdict(planned.identity),
        "config": _parameters(planned),
        "seconds": outcome.seconds,
        "result_sha256": hashlib.sha256(result).hexdigest(),
    }
    about = json.dumps(content, indent=1).encode()
    try:
        parse_run(about, result)
    except ValueError as error:
        return dataclasses.replace(outcome, error=str(error))
    name = planned.identity.name
    _appear(out, out / "complete" / name, {**outcome.files, "run.json": about})
    for path in (out / "failed" / name, *attempts(work_directory(out), name)):
        shutil.rmtree(path, ignore_errors=True)
    return outcome


def _keep_failure(out: Path, name: str, outcome: Outcome) -> None:
    files = {NOTEBOOK: outcome.files[NOTEBOOK]} if NOTEBOOK in outcome.files else {}
    files["error.txt"] = f"{outcome.log}\n{outcome.error}\n".lstrip().encode()
    _appear(out, out / "failed" / name, files)


def _appear(out: Path, directory: Path, files: Mapping[str, bytes]) -> None:
    """Make ``directory`` with ``files`` (path in it -> content) in one step, in place of one that is there.

    Where it ends between its two renames, ``_settle`` makes the second.
    """
    beside = work_directory(out) / f"{directory.name}.{secrets.token_hex(4)}.{directory.parent.name}"
    partial, replaced = (beside.with_name(f"{beside.name}.{kind}") for kind in ("partial", "replaced"))
    try:
        for name, content in files.items():
            write_durably(partial / name, content)
        directory.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            directory.rename(replaced)
        partial.rename(directory)
    finally:
        if directory.exists() or not replaced.exists():
            for path in (partial, replaced):
                shutil.rmtree(path, ignore_errors=True)


def _settle(out: Path, name: str) -> None:
    """Finish an ``_appear`` of the run ``name`` that has put the old directory aside, so that the new one is whole."""
    for replaced in work_directory(out).glob(f"{name}.*.replaced"):
        partial, directory = replaced.with_suffix(".partial"), out / replaced.suffixes[-2][1:] / name
        if partial.exists() and not directory.exists():
            partial.rename(directory)
        shutil.rmtree(replaced, ignore_errors=True)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is on the disk, not merely on its way there: a power cut leaves no empty file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Says of an OSError what it means for the output directory."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write to {out}: {error.strerror or error}; nothing incomplete is counted, so mend that or choose "
            "another --out, and start again"
        ) from None


def duration(seconds: float) -> str:
    """A time in words: "45 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
