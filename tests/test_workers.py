"""Workers get one run at a time, each on its GPU or on a cluster, and must be alike."""

import dataclasses
import pickle
import time
from collections.abc import Iterable
from pathlib import Path

import dask
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


def test_a_scheduler_that_is_not_there_is_named(small: str, tmp_path: Path, capsys, monkeypatch) -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert main(["run", small, "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no dask scheduler at 'tcp://127.0.0.1:9': ")


def test_tasks_can_be_sent_to_another_process(small: str, tmp_path: Path) -> None:
    first = plan(load_suite(small), tmp_path)[0]
    task = Task(first.identity, first.config.to_dict(), {}, work=None, threads=1, timeout=None)
    assert pickle.loads(pickle.dumps((attempt_on_cluster, task))) == (attempt_on_cluster, task)
