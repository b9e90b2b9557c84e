"""A dask scheduler and workers that die in every order: the batch goes on, or says in one sentence how to.

Each of them is a process, in which stubs stand too, and dies by ``kill -9``. With real trainings this is
``test_faults.py``.
"""

import asyncio
import json
import multiprocessing
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import cloudpickle
import pytest
from distributed import Scheduler, Worker

from ablations import attempt, identity, workers
from ablations.__main__ import main
from tests.stub_suite import wait_for

# Forked from one that has imported all this and has no threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "ablations.command_line"])
LONG = "a  name that is long " * 12  # and of two spaces, so that the command is whole only if nothing touches it
STUBS = [(identity, "CORE"), (identity, "RUN_DIRECTORY"), (identity, "NOTEBOOKS"), (identity, "faces_hash")]
STUBS += [(attempt, "execute"), (workers, "ANSWER_SECONDS")]
NO_WORKER = "no worker is left; waiting for one to join the cluster"


class Cluster:
    """A scheduler, workers and runners, all of them processes of a test.

    Four runs are asked for. Those of seed 1 wait until ``let_go`` is called.
    """

    def __init__(self, path: Path, suite: str):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.path, self.address, self.out = path, f"tcp://127.0.0.1:{self.port}", path / LONG.strip()
        self.asked = ["run", suite, "--set", "bits=12", "--set", "seed=[0,1]"]
        self.arguments = [*self.asked, "--out", str(self.out), "--scheduler", self.address]
        self.lost = f"error: the dask scheduler at {self.address} was lost; start it, and go on with: "
        self.lost += shlex.join(["python", "-m", "ablations", *self.arguments])
        self.processes: list[ForkServerProcess] = []
        for directory in ("begun", "waiting", "cancelled", "scratch"):
            (path / directory).mkdir(parents=True)

    def let_go(self) -> None:
        (self.path / "let go").touch()

    def attempts(self, what: str = "begun") -> list[Path]:
        return sorted((self.path / what).iterdir(), key=lambda path: path.stat().st_mtime_ns)

    def start(self, function: Callable, *arguments: object) -> ForkServerProcess:
        stubs = cloudpickle.dumps([(module, name, getattr(module, name)) for module, name in STUBS])
        process = PROCESSES.Process(target=_child, args=(stubs, self.path, function, *arguments))
        process.start()
        self.processes.append(process)
        return process

    def serve(self, kind: type, options: dict) -> ForkServerProcess:
        process = self.start(_serve, kind, options)
        assert wait_for(lambda: "ready" in self.said(process)), self.said(process)
        return process

    def scheduler(self) -> ForkServerProcess:
        return self.serve(Scheduler, {"host": "127.0.0.1", "port": self.port, "dashboard": False})

    def worker(self) -> ForkServerProcess:
        scratch = str(self.path / "scratch")
        return self.serve(Worker, {"scheduler_ip": self.address, "nthreads": 1, "local_directory": scratch})

    def runner(self) -> ForkServerProcess:
        return self.start(main, self.arguments)

    def said(self, process: ForkServerProcess) -> list[str]:
        path = self.path / f"{process.pid}.said"
        return path.read_text().splitlines() if path.exists() else []

    def wait(self, count: int) -> list[int]:
        """The workers' process ids, once ``count`` attempts wait and all runs before them are complete."""
        assert wait_for(lambda: len(self.attempts("waiting")) == count and len(list(self.out.glob("complete/*"))) == 2)
        return [int(path.read_text()) for path in self.attempts("waiting")]

    def as_undisturbed(self) -> None:
        """See that all runs are complete, and file by file what they are without a cluster and its deaths."""
        undisturbed = self.path / "undisturbed"
        assert main([*self.asked, "--out", str(undisturbed), "--jobs", "1"]) == 0
        expected, found = _contents(undisturbed), _contents(self.out)
        assert len([path for path in expected if path.name == "result.json"]) == 4
        assert found == expected
        assert {path.suffix for path in (self.out / ".work").iterdir()} == {".lock", ".started", ".json"}


def _child(stubs: bytes, path: Path, function: Callable, *arguments: object) -> None:
    # A job in the background inherits an ignored SIGINT; what is under test is to hear it wherever the tests run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for module, name, value in cloudpickle.loads(stubs):
        setattr(module, name, value)
    with (path / f"{os.getpid()}.said").open("w", buffering=1) as messages:
        os.dup2(messages.fileno(), 1)
        os.dup2(messages.fileno(), 2)
        sys.stdout = sys.stderr = messages
        os._exit(function(*arguments) or 0)


def _serve(kind: type, options: dict) -> None:
    async def serve() -> None:
        async with kind(**options) as server:
            print("ready")
            await server.finished()

    asyncio.run(serve())


def _contents(out: Path) -> dict[Path, object]:
    """Path -> content of all files of complete runs, but for what differs from attempt to attempt."""
    contents: dict[Path, object] = {}
    for path in (out / "complete").glob("*/*"):
        contents[path.relative_to(out)] = path.read_bytes() if path.name != "pid" else None
        if path.name == "run.json":
            contents[path.relative_to(out)] = {**json.loads(path.read_bytes()), "seconds": None}
    return contents


@pytest.fixture
def cluster(small: str, fast: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    honest, path = attempt.execute, tmp_path / "cluster"

    def execute(source, output, parameters, threads, timeout, cancelled, environment) -> None:
        token = output.parent.name
        (path / "begun" / token).touch()
        while parameters["seed"] == 1 and not (path / "let go").exists():
            written = path / f"{token}.written"  # elsewhere, so that nobody reads it before its end
            written.write_text(str(os.getpid()))
            written.rename(path / "waiting" / token)
            if cancelled():
                (path / "cancelled" / token).touch()
                raise CancelledError
            time.sleep(0.05)
        honest(source, output, parameters)

    monkeypatch.setattr(attempt, "execute", execute)
    cluster = Cluster(path, small)
    yield cluster
    for process in cluster.processes:
        process.kill()
        process.join()


def ended(process: ForkServerProcess, seconds: float = 90) -> int | None:
    """The exit status of a process, or None if it still runs after so long."""
    process.join(seconds)
    return process.exitcode


def test_a_run_whose_worker_dies_is_done_by_another(cluster: Cluster) -> None:
    cluster.scheduler()
    for _ in range(2):
        cluster.worker()
    runner = cluster.runner()
    os.kill(cluster.wait(2)[0], signal.SIGKILL)
    cluster.let_go()
    assert ended(runner) == 0, cluster.said(runner)
    assert len(cluster.attempts()) == 4 + 1
    cluster.as_undisturbed()


def test_where_the_only_worker_dies_the_batch_waits_for_another(cluster: Cluster) -> None:
    cluster.scheduler()
    cluster.worker()
    runner = cluster.runner()
    os.kill(cluster.wait(1)[0], signal.SIGKILL)
    assert wait_for(lambda: cluster.said(runner)[3:] == [NO_WORKER])
    cluster.worker()
    cluster.let_go()
    assert ended(runner) == 0, cluster.said(runner)
    assert len(cluster.attempts()) == 4 + 1
    cluster.as_undisturbed()


@pytest.mark.parametrize(
    "deaths", [["scheduler"], ["scheduler", "worker"], ["worker", "scheduler"], ["scheduler, which is back at once"]]
)
def test_a_batch_that_lost_its_scheduler_goes_on_with_the_same_command(cluster: Cluster, deaths: list[str]) -> None:
    scheduler, worker = cluster.scheduler(), cluster.worker()
    runner = cluster.runner()
    cluster.wait(1)
    for death in deaths:
        (worker if death == "worker" else scheduler).kill()
        if deaths == ["worker", "scheduler"]:
            assert wait_for(lambda: cluster.said(runner)[3:] == [NO_WORKER])
        elif death.endswith("at once"):
            scheduler.join()
            cluster.scheduler()
    assert ended(runner) == 2, cluster.said(runner)
    assert cluster.said(runner)[3:] == [NO_WORKER] * (deaths[0] == "worker") + [cluster.lost]
    assert len(cluster.attempts()) == 3

    for process in (scheduler, worker):
        process.kill()
        process.join()
    if not deaths[0].endswith("at once"):
        cluster.scheduler()
    cluster.worker()
    cluster.let_go()
    runner = cluster.runner()
    assert ended(runner) == 0, cluster.said(runner)
    assert cluster.said(runner)[0] == "small: 4 runs, 2 complete, 2 to do"
    assert len(cluster.attempts()) == 3 + 2
    cluster.as_undisturbed()


def test_a_scheduler_that_is_lost_before_a_worker_was_there_is_the_same_sentence(cluster: Cluster) -> None:
    scheduler = cluster.scheduler()
    runner = cluster.runner()
    waits = f"the cluster of {cluster.address} has no worker; waiting for one to join it"
    assert wait_for(lambda: cluster.said(runner) == [waits])
    scheduler.kill()
    assert ended(runner) == 2
    assert cluster.said(runner) == [waits, cluster.lost]


def test_a_scheduler_that_answers_no_more_counts_as_lost(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ANSWER_SECONDS", 1)
    scheduler = cluster.scheduler()
    cluster.worker()
    runner = cluster.runner()
    cluster.wait(1)
    assert scheduler.pid is not None
    os.kill(scheduler.pid, signal.SIGSTOP)
    assert ended(runner) == 2, cluster.said(runner)
    assert cluster.said(runner)[3:] == [cluster.lost]


def test_an_interrupt_ends_what_runs_on_a_cluster(cluster: Cluster) -> None:
    cluster.scheduler()
    cluster.worker()
    runner = cluster.runner()
    cluster.wait(1)
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGINT)
    assert ended(runner) == 130, cluster.said(runner)
    assert wait_for(lambda: cluster.attempts("cancelled"), 10)
    assert [path.name for path in cluster.attempts("cancelled")] == [cluster.attempts()[-1].name]
