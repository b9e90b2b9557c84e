"""Workers get one run at a time, each on its GPU or on a cluster, and must be alike."""

import dataclasses
import pickle
import socket
import socketserver
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from distributed import LocalCluster

from ablations import attempt, identity, workers
from ablations.__main__ import main
from ablations.attempt import Task
from ablations.report import collect
from ablations.runner import plan, run_suite
from ablations.suite import load_suite
from ablations.workers import attempt_on_cluster
from dcbh_core import Config
from tests.stub_suite import OWN, write_own

ONE_WORKER = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}


def test_several_gpus_get_one_run_each(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    honest, used, most = attempt.execute, [], []

    def execute(source, output, parameters, threads, timeout, cancelled, environment) -> None:
        used.append(environment["CUDA_VISIBLE_DEVICES"])
        most.append(len(set(used)) == len(used))
        time.sleep(0.2)
        honest(source, output, parameters)
        used.remove(environment["CUDA_VISIBLE_DEVICES"])

    monkeypatch.setattr(attempt, "execute", execute)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert run_suite(load_suite(small), tmp_path) == 0
    assert most == [True] * 12


def test_a_cluster_makes_the_same_runs(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1, 7]})
    failed = run_suite(suite, tmp_path / "here", jobs=1)
    with LocalCluster(**{**ONE_WORKER, "n_workers": 2}, local_directory=str(tmp_path / "scratch")) as cluster:
        assert run_suite(suite, tmp_path / "there", scheduler=cluster.scheduler_address) == failed == 2
    columns = ["variant", "seed", "bits", "map", "device", "dtype", "faces", "identity", "changed"]
    here, there = (collect(suite, tmp_path / place)[columns] for place in ("here", "there"))
    pd.testing.assert_frame_equal(here, there)
    assert {p["run_dir"].startswith(str(tmp_path / "scratch")) for p in fast[6:]} == {True}
    errors = [path.read_text() for path in (tmp_path / "there" / "failed").glob("*/error.txt")]
    assert [error.splitlines()[-1] for error in errors] == ["ZeroDivisionError: seed seven is unlucky"] * 2


def test_a_file_of_ones_own_travels_with_the_task(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(write_own(Path(small))).with_settings({"bits": 12, "seed": 0})
    with LocalCluster(**ONE_WORKER, local_directory=str(tmp_path / "scratch")) as cluster:
        assert run_suite(suite, tmp_path / "runs", only=["own"], scheduler=cluster.scheduler_address) == 0
    file = Path(fast[0]["objective"].removesuffix(":Pull"))
    assert file.is_relative_to(tmp_path / "scratch")
    assert collect(suite, tmp_path / "runs")["variant"].tolist() == ["own"]
    [directory] = (tmp_path / "runs" / "complete").iterdir()
    assert (directory / "pull.py").read_text() == OWN


@pytest.mark.parametrize("other", ["source", "faces"])
def test_a_worker_with_other_sources_or_faces_refuses(
    small: str, fast: list, tmp_path: Path, capsys, monkeypatch, other: str
) -> None:
    """One that joined late; those that are there at the start are asked all at once."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    if other == "faces":
        monkeypatch.setattr(workers, "identify", lambda configs, threads: _changed(configs, faces="other faces"))
    else:
        monkeypatch.setattr(
            workers, "identify", lambda configs, threads: _changed(configs, sources={"losses.py": "other"})
        )
    with LocalCluster(**ONE_WORKER, local_directory=str(tmp_path / "scratch")) as cluster:
        assert run_suite(suite, tmp_path / "runs", only=["full"], scheduler=cluster.scheduler_address) == 1
    assert f"has other {other} than the runner; give it the same" in capsys.readouterr().err
    assert fast == []


def _changed(configs: Iterable[Config], **changes: object) -> list[identity.Identity]:
    return [dataclasses.replace(one, whole="another", **changes) for one in identity.identify(configs)]


@pytest.mark.parametrize(
    ("answers", "agreed"), [({"a": 1, "b": 1}, True), ({"a": 1, "b": 2}, False)], ids=["alike", "different"]
)
def test_workers_must_be_alike(answers: dict, agreed: bool) -> None:
    if agreed:
        assert workers.agreed(answers, "sources") == 1
    else:
        with pytest.raises(ValueError, match="the workers differ in their sources: a has 1, b has 2"):
            workers.agreed(answers, "sources")


@pytest.fixture
def not_dask() -> Iterator[str]:
    """The address of a server that answers in another language."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:9", "nowhere", "", "http://127.0.0.1:80", "not_dask", "silent"])
def test_a_scheduler_that_is_not_there_is_named_within_seconds(
    small: str, fast: list, tmp_path: Path, capfd, request: pytest.FixtureRequest, where: str
) -> None:
    address = request.getfixturevalue(where) if where in ("not_dask", "silent") else where
    started = time.monotonic()
    assert main(["run", small, "--out", str(tmp_path), "--scheduler", address]) == 2
    assert time.monotonic() - started < 2 * workers.CONNECT_SECONDS
    [sentence] = capfd.readouterr().err.splitlines()
    assert sentence.startswith(f"error: there is no dask scheduler at {address!r}: ")
    assert fast == []


def test_tasks_can_be_sent_to_another_process(small: str, tmp_path: Path) -> None:
    first = plan(load_suite(small), tmp_path)[0]
    task = Task(first.identity, first.config.to_dict(), {}, work=None, threads=1, timeout=None)
    assert pickle.loads(pickle.dumps((attempt_on_cluster, task))) == (attempt_on_cluster, task)
