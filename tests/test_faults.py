"""Breaks batches for real: kill -9 at random moments, full disks, directories that cannot be written to.

``make test-faults`` runs it. The kit under test is a copy whose training notebook draws no pictures and writes a
checkpoint after each epoch instead of every 30 seconds; everything else is as shipped, command line included. One of
its variants is a head in a file of its own, which travels with the runs.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from ablations import identity
from ablations.report import collect
from ablations.suite import load_suite
from ablations.tables import PER_QUERY, summary, table

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parent.parent
SUITE = """
title: Twelve small runs
about: Is the table the same, whatever is killed?
base: {dataset: orl, width: 0.05, epochs: 5, device: cpu, dtype: float32}
variants:
  full: {}
  no_center: {center_weight: 0}
  own: {head: "mean_head.py:MeanHead"}
grid:
  bits: [8, 12]
  seed: [0, 1]
"""
TUNING = """
tuning:
  at: {bits: 8, seed: 0, epochs: 100000}
  learning_rate: [1.0e-3, 2.0e-3]
  own:
    full: {center_weight: [0, 1.0e-4]}
"""
# Whom kill -9 hits, and when: anywhere; while the runner imports and plans; in the first second of a kernel; just after
# a checkpoint; while a result is being kept. Each pair so often on this machine, and so often on a dask cluster.
KILLS = {
    ("runner", "random"): (6, 2),
    ("runner", "import"): (8, 2),
    ("runner", "start"): (5, 1),
    ("runner", "checkpoint"): (6, 2),
    ("runner", "keeping"): (6, 2),
    ("papermill", "random"): (4, 0),
    ("papermill", "start"): (5, 0),
    ("papermill", "checkpoint"): (6, 0),
    ("kernel", "random"): (6, 2),
    ("kernel", "start"): (6, 2),
    ("kernel", "checkpoint"): (10, 2),
    ("worker", "random"): (0, 5),
    ("worker", "start"): (0, 3),
    ("worker", "checkpoint"): (0, 5),
    ("server", "random"): (4, 0),
}
MARK = "DCBH_FAULTS"  # environment variable that all processes under test inherit, and are found by


class Kit:
    """A copy of the kit, and what runs of it."""

    def __init__(self, path: Path):
        self.path, self.suite = path, str(path / "twelve.yaml")
        for package in ("dcbh_core", "ablations"):
            shutil.copytree(ROOT / package, path / package, ignore=shutil.ignore_patterns("__pycache__", "results"))
        (path / "notebooks").mkdir()
        nbformat.write(self._training_notebook(), path / "notebooks" / identity.TRAINING_NOTEBOOK)
        (path / "twelve.yaml").write_text(SUITE)
        shutil.copy(ROOT / "ablations" / "suites" / "methods" / "mean_head.py", path)
        self.environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", MARK: path.name}

    @staticmethod
    def _training_notebook() -> nbformat.NotebookNode:
        notebook = nbformat.read(ROOT / "notebooks" / identity.TRAINING_NOTEBOOK, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("figures.")]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source = re.sub(r"^figures\..*\n?", "", cell.source.replace(" figures,", ""), flags=re.M)
                cell.source = cell.source.replace('"checkpoint.pt")', '"checkpoint.pt", checkpoint_seconds=0)')
                cell.outputs = []
        assert sum("checkpoint_seconds=0" in cell.source for cell in notebook.cells) == 1
        return notebook

    def start(self, *arguments: str, module: str = "ablations") -> subprocess.Popen[str]:
        """``python -m MODULE ARGUMENTS``, its messages in a file that ``said`` reads."""
        with (self.path / "messages.txt").open("a") as messages:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.path,
                env=self.environment,
                stdout=messages,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ablations", *arguments]
        return subprocess.run(
            command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )

    def said(self) -> str:
        return (self.path / "messages.txt").read_text()

    def processes(self, *words: str) -> list[psutil.Process]:
        """The living processes under test whose name begins with any of the words (all without words)."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self.path.name and process.status() != psutil.STATUS_ZOMBIE
                name = process.name()
            except psutil.Error:
                continue
            if ours and (not words or name.startswith(words)):
                found.append(process)
        return found

    def frame(self, out: Path, suite: str | None = None) -> pd.DataFrame:
        """The metrics of all complete runs, without the times that they took."""
        return collect(load_suite(suite or self.suite), out).drop(columns="seconds")


@pytest.fixture(scope="module")
def kit() -> Iterator[Kit]:
    # Not below pytest's own directory: an unprivileged user must be able to read it.
    path = Path(tempfile.mkdtemp(prefix="dcbh-faults-"))
    path.chmod(0o755)
    kit = Kit(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "NOTEBOOKS", path / "notebooks")
        patch.setattr(identity, "CORE", path / "dcbh_core")
        patch.setattr(identity, "RUN_DIRECTORY", path / "ablations" / "run_directory.py")
        yield kit
    for process in kit.processes():
        process.kill()
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def undisturbed(kit: Kit) -> Path:
    """The output directory of all twelve runs, which nothing befell."""
    out = kit.path / "undisturbed"
    result = kit.run("run", kit.suite, "--out", str(out), "--jobs", "2")
    assert result.returncode == 0, result.stderr
    return out


def wait_for(condition: Callable[[], object], seconds: float) -> object:
    """The first true value of ``condition()``, or its last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def below(directory: Path, pattern: str) -> list[Path]:
    """What matches a pattern at any depth below a directory, whose directories may vanish while it is read.

    ``Path.glob`` of Python 3.11 raises FileNotFoundError if a directory is gone between its being listed and its being
    entered (pathlib.py, ``_RecursiveWildcardSelector`` lets only PermissionError pass); ``os.walk`` passes over it.
    """
    return [
        Path(folder) / name
        for folder, folders, files in os.walk(directory)
        for name in folders + files
        if fnmatch(name, pattern)
    ]


def checkpoints(directory: Path) -> dict[Path, int]:
    """The checkpoints of attempts below a directory, and when each was written."""
    found = {}
    for path in below(directory, "checkpoint.pt"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def directories(path: Path) -> set[Path]:
    """The directories of attempts in a directory."""
    return {attempt for attempt in below(path, "*-*.????????") if attempt.is_dir()}


class Killer:
    """Kills what runs a suite, and sees that what it had started dies with it.

    Where a suite is complete before all kills are made, it is begun anew in another directory.

    Args:
        kit: The kit under test.
        name: Of the output directories.
        start_runner: Starts the runner on an output directory, once and again.
        attempts: Where the attempts of workers lie that have no directory in common with the runner.
        start_worker: Starts a dask worker: two at first, and one for each that is killed.
    """

    def __init__(
        self,
        kit: Kit,
        name: str,
        start_runner: Callable[[Path], subprocess.Popen[str]],
        attempts: Path | None = None,
        start_worker: Callable[[], subprocess.Popen[str]] | None = None,
    ):
        self.kit, self.name, self.start_runner, self.start_worker = kit, name, start_runner, start_worker
        self.elsewhere = attempts
        self.workers = [start_worker(), start_worker()] if start_worker else []
        self.random = random.Random(4)
        self.kills: Counter[str] = Counter()
        self.before_rename = 0  # of the kills, those of a run that had a checkpoint but no run directory yet
        self.outs: list[Path] = []
        self.begin()

    def begin(self) -> None:
        """Begin the suite anew."""
        self.outs.append(self.kit.path / f"{self.name}{len(self.outs)}")
        self.runner = self.start_runner(self.outs[-1])

    @property
    def attempts(self) -> Path:
        """Where the attempts that go on lie."""
        return self.elsewhere or self.outs[-1] / ".work"

    def kill(self, victim: str, moment: str) -> None:
        """Kill a victim at a moment."""
        for _ in range(50):
            if self.runner.poll() is not None:
                if len(list((self.outs[-1] / "complete").glob("*"))) == 12:
                    self.begin()
                else:
                    self.runner = self.start_runner(self.outs[-1])
            directory = self._await(moment)
            process = self._find(victim, directory) if directory is not None else None
            if process is not None and self._end(process, victim):
                self.kills[f"{victim}, {moment}"] += 1
                complete = self.outs[-1] / "complete" / str(directory).split(".")[0]
                self.before_rename += moment == "checkpoint" and not complete.exists()
                return
        raise AssertionError(f"{victim}, {moment} never came: {self.kit.said()}")

    def _await(self, moment: str) -> str | None:
        """Wait until it is there; the directory of the attempt it is about, or "" for any, or None if it passed by."""
        if moment == "import":
            if self.runner.poll() is None:
                self.runner.kill()
                self.runner.wait()
            self.runner = self.start_runner(self.outs[-1])
            time.sleep(self.random.uniform(0, 4))
        elif moment == "start":
            before = directories(self.attempts)
            new = wait_for(lambda: directories(self.attempts) - before or self.runner.poll() is not None, 60)
            time.sleep(self.random.uniform(0, 1))
            return next(iter(new)).name if isinstance(new, set) else None
        elif moment == "checkpoint":
            before = checkpoints(self.attempts).items()
            new = wait_for(lambda: checkpoints(self.attempts).items() - before or self.runner.poll() is not None, 60)
            return next(iter(new))[0].parent.name if isinstance(new, set) else None
        elif moment == "keeping":
            work = self.outs[-1] / ".work"
            signs = lambda: below(self.attempts, "result.json") + list(work.glob("*.partial"))  # noqa: E731
            if not wait_for(lambda: signs() or self.runner.poll() is not None, 60):
                return None
        else:
            time.sleep(self.random.uniform(0, 3))
        return ""

    def _find(self, victim: str, directory: str) -> psutil.Process | None:
        """A process of this kind: of the attempt in ``directory``, or any."""
        if victim == "runner":
            return psutil.Process(self.runner.pid) if self.runner.poll() is None else None
        if victim == "worker" and not directory:
            return psutil.Process(self.random.choice(self.workers).pid)
        if victim == "server":
            servers = self.kit.processes("fork server")
            return self.random.choice(servers) if servers else None
        kind = "kernel" if victim == "kernel" else "mill"
        found = self.kit.processes(f"{kind} {directory[-8:]}" if directory else kind)
        if not found:
            return None
        process = self.random.choice(found)
        try:
            return process.parents()[2] if victim == "worker" else process  # above watcher and fork server
        except (psutil.NoSuchProcess, IndexError):
            return None

    def _end(self, process: psutil.Process, victim: str) -> bool:
        """Kill it, and see that all below it end; False if it was gone."""
        try:
            below = process.children(recursive=True)
            process.kill()
        except psutil.NoSuchProcess:
            return False
        if victim == "runner":
            self.runner.wait()
            # On a cluster the kernels are not the runner's children, but must not outlive it either.
            below += self.kit.processes("kernel", "mill")
        _, alive = psutil.wait_procs(below, timeout=10)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == [], self.kit.said()
        if victim == "worker" and self.start_worker is not None:
            self.workers = [worker for worker in self.workers if worker.poll() is None] + [self.start_worker()]
        return True


def test_a_suite_survives_kill_9_of_everything_that_runs_it(kit: Kit, undisturbed: Path) -> None:
    def arguments(out: Path) -> list[str]:
        return ["run", kit.suite, "--out", str(out), "--retries", "3"]

    plans = [[pair for pair, counts in KILLS.items() for _ in range(counts[place])] for place in (0, 1)]
    for one in plans:
        random.Random(0).shuffle(one)

    on_this_machine = Killer(kit, "here", lambda out: kit.start(*arguments(out), "--jobs", "2"))
    for victim, moment in plans[0]:
        on_this_machine.kill(victim, moment)
    on_this_machine.runner.kill()
    on_this_machine.runner.wait()
    assert wait_for(lambda: not kit.processes(), 10), kit.processes()

    address, local = "tcp://127.0.0.1:8799", kit.path / "dask"
    kit.start("scheduler", "--host", "127.0.0.1", "--port", "8799", "--no-dashboard", "--no-show", module="dask")
    worker = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(local)]
    on_cluster = Killer(
        kit,
        "cluster",
        lambda out: kit.start(*arguments(out), "--scheduler", address),
        local,
        lambda: kit.start(*worker, module="dask"),
    )
    for victim, moment in plans[1]:
        on_cluster.kill(victim, moment)
    on_cluster.runner.kill()
    on_cluster.runner.wait()
    for process in kit.processes():
        process.kill()

    kills = on_this_machine.kills + on_cluster.kills
    before_rename = on_this_machine.before_rename + on_cluster.before_rename
    print(f"{sum(kills.values())} kills survived, {before_rename} of them between checkpoint and rename: {dict(kills)}")
    assert sum(kills.values()) >= 100
    assert before_rename >= 15
    for out in (*on_this_machine.outs, *on_cluster.outs):
        result = kit.run(*arguments(out), "--jobs", "2")
        assert result.returncode == 0, result.stderr
        assert "12 of 12 runs complete" in kit.run("status", str(out)).stdout
        assert_same_metrics(kit, undisturbed, out)


def assert_same_metrics(kit: Kit, expected: Path, found: Path) -> None:
    """The tables, all metrics of all runs, every epoch's losses, and every bit of every code."""
    assert len(kit.frame(found)) == 12
    frames = [kit.frame(out).drop(columns=PER_QUERY) for out in (found, expected)]  # AP of queries: in evaluation.npz
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    suite = load_suite(kit.suite)
    assert table(summary(kit.frame(found), suite), suite).equals(table(summary(kit.frame(expected), suite), suite))
    for run in (expected / "complete").iterdir():
        twin = found / "complete" / run.name
        assert sorted(path.name for path in twin.iterdir()) == sorted(path.name for path in run.iterdir())
        assert (twin / "history.csv").read_bytes() == (run / "history.csv").read_bytes()
        with np.load(run / "evaluation.npz") as one, np.load(twin / "evaluation.npz") as other:
            assert one.files == other.files
            assert all(np.array_equal(one[name], other[name]) for name in one.files)
    assert {path.suffix for path in (found / ".work").iterdir()} == {".lock", ".started", ".json"}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_the_trainings_of_a_tuning_end_with_it(kit: Kit, tmp_path: Path, end: signal.Signals) -> None:
    (kit.path / "tuned.yaml").write_text(SUITE + TUNING)
    runner = kit.start("tune", str(kit.path / "tuned.yaml"), "--out", str(tmp_path), "--jobs", "2")
    assert wait_for(lambda: checkpoints(tmp_path), 120), kit.said()
    runner.send_signal(end)
    status = runner.wait(30)
    assert wait_for(lambda: not kit.processes(), 10), kit.processes()
    if end == signal.SIGTERM:
        assert status == 130  # as after Ctrl-C
        assert "interrupted; go on with: python -m ablations tune " in kit.said().splitlines()[-1]


def test_damaged_results_are_not_counted_and_are_made_anew(kit: Kit, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(undisturbed, out)
    corrupted, truncated, foreign, other = sorted((out / "complete").glob("*/result.json"))[:4]
    text = corrupted.read_text()
    corrupted.write_text(re.sub(r'"map": 0\.(\d)', lambda found: f'"map": 0.{9 - int(found[1])}', text))
    assert corrupted.read_text() != text
    truncated.write_text(truncated.read_text()[:100])
    foreign.write_text(other.read_text())
    assert len(kit.frame(out)) == 9
    again = kit.run("run", kit.suite, "--out", str(out), "--jobs", "2")
    assert again.returncode == 0, again.stderr
    assert "12 runs, 9 complete, 3 to do" in again.stderr
    assert_same_metrics(kit, undisturbed, out)


def test_two_runners_at_once_make_each_run_once(kit: Kit, undisturbed: Path, tmp_path: Path) -> None:
    arguments = ["run", kit.suite, "--out", str(tmp_path), "--set", "bits=8", "--set", "seed=0"]
    arguments += ["--only", "full", "own", "--jobs", "1"]
    command = [sys.executable, "-m", "ablations", *arguments]
    both = [
        subprocess.Popen(command, cwd=kit.path, env=kit.environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    messages = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], messages
    assert sum(text.count(": MAP ") for text in messages) == 2
    assert sum(text.count(": run by another runner") for text in messages) > 0
    frame = kit.frame(undisturbed)
    expected = frame[(frame["bits"] == 8) & (frame["seed"] == 0) & (frame["variant"] != "no_center")].reset_index(
        drop=True
    )
    expected = expected.drop(columns=PER_QUERY)
    pd.testing.assert_frame_equal(kit.frame(tmp_path).drop(columns=PER_QUERY), expected, check_exact=True)


def test_a_directory_that_cannot_be_written_to_is_one_sentence(kit: Kit) -> None:
    """As an unprivileged user, since root may write anywhere."""
    out = Path(tempfile.mkdtemp(dir=kit.path))
    out.chmod(0o555)
    script = (
        "import os, sys\nfrom ablations.__main__ import main\n"
        f"arguments = ['run', {kit.suite!r}, '--out', {str(out)!r}]\n"
        "main([*arguments, '--dry-run'])\n"  # so that all is imported before the interpreter may be out of reach
        "if os.getuid() == 0:\n    os.setgroups([])\n    os.setgid(65534)\n    os.setuid(65534)\n"
        "sys.exit(main(arguments))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=kit.path, env=kit.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    [sentence] = result.stderr.splitlines()
    assert sentence == (
        f"error: cannot write to {out}: Permission denied; nothing incomplete is counted, so mend that or choose "
        "another --out, and start again"
    )
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("size", [16, 400], ids=["the runner's own files", "a run's files"])
def test_a_full_disk_is_told_and_the_batch_goes_on_once_there_is_room(kit: Kit, size: int) -> None:
    """On a tmpfs of ``size`` kB in a mount namespace, which goes when the test does."""
    out = kit.path / f"disk{size}"
    out.mkdir()
    settings = ["--set", "bits=8", "--set", "seed=0", "--only", "full"]
    script = f"""
import json, subprocess, sys, pathlib
mount = ["mount", "-t", "tmpfs", "-o"]
if subprocess.run([*mount, "size={size}k", "tmpfs", {str(out)!r}]).returncode:
    sys.exit(99)
def run():
    command = [sys.executable, "-m", "ablations", "run", {kit.suite!r}, "--out", {str(out)!r}, *{settings!r}]
    done = subprocess.run(command, capture_output=True, text=True)
    complete = len(list(pathlib.Path({str(out)!r}).glob("complete/*")))
    return done.returncode, done.stderr, complete
full = run()
subprocess.run(["mount", "-o", "remount,size=64m", {str(out)!r}], check=True)
print(json.dumps([full, run()]))
"""
    namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    result = subprocess.run(
        [*namespace, sys.executable, "-c", script],
        cwd=kit.path,
        env=kit.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode in (1, 99) and not result.stdout:
        pytest.fail(f"neither a small tmpfs nor a quota can be had here, so a full disk is not tested: {result.stderr}")
    (status, messages, complete), (status_with_room, messages_with_room, complete_with_room) = json.loads(result.stdout)
    assert status in (1, 2), messages
    assert "No space left on device" in messages
    assert "Traceback" not in messages
    assert complete == 0
    assert (status_with_room, complete_with_room) == (0, 1), messages_with_room


def test_memory_that_runs_out_and_a_timeout_are_recorded_and_the_others_go_on(kit: Kit, tmp_path: Path) -> None:
    """A kernel that is killed at every attempt, and one that takes too long."""
    arguments = ["--out", str(tmp_path), "--set", "bits=8", "--set", "seed=0", "--only", "full"]
    slow = kit.run("run", kit.suite, *arguments, "--set", "epochs=100000", "--timeout", "15")
    assert slow.returncode == 1
    assert "full 8 bits seed 0: it took longer than the timeout of 15 s (see " in slow.stderr
    [failed] = (tmp_path / "failed").iterdir()
    assert "KeyboardInterrupt" in (failed / "notebook.ipynb").read_text()
    assert "KeyboardInterrupt" in (failed / "error.txt").read_text()
    before = checkpoints(tmp_path)
    runner = kit.start("run", kit.suite, *arguments)
    assert wait_for(lambda: checkpoints(tmp_path).items() - before.items(), 60)
    [kernel] = kit.processes("kernel")
    kernel.kill()  # as Linux does where memory runs out
    assert runner.wait(300) == 1
    assert "FAILED, Kernel died: it was killed, or memory ran out" in kit.said()
    assert (
        sorted(path.name for path in failed.parent.glob("*/*")) == ["error.txt", "error.txt"] + ["notebook.ipynb"] * 2
    )
