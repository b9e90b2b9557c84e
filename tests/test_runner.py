"""The runner completes each run once, whatever fails; a stub stands in place of the training notebook."""

import contextlib
import dataclasses
import errno
import io
import itertools
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
from distributed import LocalCluster
from filelock import FileLock

from ablations import attempt, command_line, identity, runner
from ablations.__main__ import main
from ablations.execution import NotebookError
from ablations.identity import read_run
from ablations.report import collect
from ablations.runner import plan, run_suite, status
from ablations.suite import load_suite
from dcbh_core import Config, load_split
from tests.stub_suite import ODD_NAMES, OWN, edit, run_small, wait_for, write_own, write_suite


def test_run_makes_complete_runs_and_nothing_else(small: str, fast: list, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    failed = run_small(small, out)
    names = {planned.identity.name for planned in plan(load_suite(small), out)}
    assert failed == 0
    assert {path.name for path in (out / "complete").iterdir()} == names
    assert {path.suffix for path in (out / ".work").iterdir()} == {".lock", ".started", ".json"}
    assert sorted(path.name for path in out.iterdir()) == [".work", "complete"]


def test_a_run_directory_holds_what_the_notebook_and_the_runner_wrote(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    directory = tmp_path / "complete" / plan(load_suite(small), tmp_path)[0].identity.name
    assert sorted(path.name for path in directory.iterdir()) == ["notebook.ipynb", "pid", "result.json", "run.json"]


def test_the_notebook_is_given_the_whole_resolved_config(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    parameters = next(p for p in fast if p["center_weight"] != 0)
    run_dir = Path(parameters.pop("run_dir"))
    assert parameters == load_suite(small).runs()[0].config.resolved().to_dict()
    assert run_dir.parent == tmp_path / ".work"


def test_the_notebook_is_given_an_absolute_root(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=0, dataset="folder", root="faces")
    assert {p["root"] for p in fast} == {os.path.abspath("faces")}


def test_complete_runs_are_not_run_again(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, seed=[0, 1])
    fast.clear()
    run_small(small, tmp_path)
    assert sorted((p["bits"], p["seed"], p["center_weight"]) for p in fast) == [
        (12, 2, 0),
        (12, 2, 1e-4),
        (48, 2, 0),
        (48, 2, 1e-4),
    ]


@pytest.mark.parametrize("damage", ["truncated", "corrupted", "foreign", "no run.json", "no metrics"])
def test_a_damaged_run_is_run_again(small: str, fast: list, tmp_path: Path, damage: str) -> None:
    run_small(small, tmp_path)
    first, second = (tmp_path / "complete" / p.identity.name for p in plan(load_suite(small), tmp_path)[:2])
    if damage == "truncated":
        (first / "result.json").write_text((first / "result.json").read_text()[:100])
    elif damage == "corrupted":
        (first / "result.json").write_text((first / "result.json").read_text().replace('"map": 0.5', '"map": 0.9'))
    elif damage == "foreign":
        (first / "result.json").write_bytes((second / "result.json").read_bytes())
    elif damage == "no run.json":
        (first / "run.json").unlink()
    else:
        edit(first / "result.json", "metrics", {})
    fast.clear()
    run_small(small, tmp_path)
    assert len(fast) == 1
    assert read_run(first)["result"]["metrics"]["map"] > 0


def test_runs_of_one_identity_run_once_and_are_shown_under_each_variant(small: str, fast: list, tmp_path: Path) -> None:
    """As those on two copies of the same faces."""
    variants = {"full": {"root": "faces"}, "copy": {"root": "copy"}, "fc": {"head": "fc", "root": "faces"}}
    path = write_suite(Path(small), base={"dataset": "folder", "width": 0.25}, variants=variants)
    run_small(path, tmp_path)
    assert len(fast) == 12
    assert collect(load_suite(path), tmp_path)["variant"].value_counts().to_dict() == dict.fromkeys(variants, 6)


def test_a_failed_run_does_not_stop_the_others(small: str, fast: list, tmp_path: Path, capsys) -> None:
    suite = load_suite(small).with_settings({"seed": [7, 0], "bits": 12})
    assert run_suite(suite, tmp_path, jobs=1) == 2
    done = {p.run.label: p.complete for p in plan(suite, tmp_path)}
    assert done == {
        "full 12 bits seed 7": False,
        "no_center 12 bits seed 7": False,
        "full 12 bits seed 0": True,
        "no_center 12 bits seed 0": True,
    }
    name = plan(suite, tmp_path)[0].identity.name
    failed = tmp_path / "failed" / name
    summary_line = f"full 12 bits seed 7: ZeroDivisionError: seed seven is unlucky (see {failed})"
    assert summary_line in capsys.readouterr().err
    assert (failed / "notebook.ipynb").exists()
    assert (failed / "error.txt").read_text().splitlines()[-1] == "ZeroDivisionError: seed seven is unlucky"
    assert {path.suffix for path in (tmp_path / ".work").iterdir()} == {".lock", ".started", ".json"}


def test_a_failure_is_forgotten_once_the_run_is_complete(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small).with_settings({"seed": 0, "bits": 12})
    failed = tmp_path / "failed" / plan(suite, tmp_path)[0].identity.name
    failed.mkdir(parents=True)
    run_suite(suite, tmp_path, jobs=1)
    assert not failed.exists()


def test_a_notebook_that_ran_another_config_is_a_failure(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    honest = attempt.execute
    monkeypatch.setattr(
        attempt, "execute", lambda s, o, parameters, *rest: honest(s, o, {**parameters, "bits": 48}, *rest)
    )
    assert run_small(small, tmp_path, bits=12, seed=0) == 2
    assert "it ran another config: bits is 48, not 12" in capsys.readouterr().err


def test_nothing_starts_if_one_config_is_impossible(small: str, fast: list, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="full 0 bits seed 0: bits must be at least 1"):
        run_small(small, tmp_path, bits=[12, 0])
    assert fast == []


def test_nothing_starts_if_an_objective_cannot_serve_so_many_people(small: str, fast: list, tmp_path: Path) -> None:
    """Forty, on ORL."""
    path = write_suite(Path(small), variants={"full": {}, "csq": {"objective": "csq"}})
    with pytest.raises(ValueError, match="suite 'small', csq 5 bits seed 0: 40 people need a code centre each"):
        run_small(path, tmp_path, bits=[6, 5])
    assert fast == []
    assert run_small(path, tmp_path, bits=6, seed=0) == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_nothing_starts_without_the_device_that_is_asked_for(
    small: str, fast: list, tmp_path: Path, capsys, options: list[str]
) -> None:
    path = write_suite(Path(small), variants={"full": {}, "gpu": {"device": "cuda"}})
    assert main(["run", path, "--out", str(tmp_path), *options]) == 2
    assert capsys.readouterr().err.startswith("error: suite 'small', gpu 12 bits seed 0: device 'cuda' was asked for")
    assert fast == []


def test_what_is_wrong_with_the_faces_names_the_variant(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    def faces_hash(config: Config) -> str:
        if config.queries_per_identity == 99:
            raise ValueError("too few photographs")
        return "faces"

    monkeypatch.setattr(identity, "faces_hash", faces_hash)
    path = write_suite(Path(small), variants={"full": {}, "many": {"queries_per_identity": 99}})
    with pytest.raises(ValueError, match="suite 'small', many 12 bits seed 0: too few photographs"):
        run_small(path, tmp_path)


def test_nothing_starts_if_one_data_set_is_missing(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    def faces_hash(config: Config) -> str:
        if config.split_seed == 1:
            raise FileNotFoundError("no faces there")
        return "faces"

    monkeypatch.setattr(identity, "faces_hash", faces_hash)
    with pytest.raises(FileNotFoundError):
        run_small(small, tmp_path, split_seed=[0, 1])
    assert fast == []


def test_progress_tells_label_and_map(small: str, fast: list, tmp_path: Path, capsys) -> None:
    run_suite(load_suite(small).with_settings({"bits": 12, "seed": [0, 1]}), tmp_path, jobs=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "small: 4 runs, 0 complete, 4 to do"
    assert lines[1].startswith("[1/4] full 12 bits seed 0: MAP 0.530, ")
    assert lines[4].startswith("[4/4] no_center 12 bits seed 1: MAP 0.470, ")


def test_a_failed_run_is_attempted_again(small: str, fast: list, tmp_path: Path, monkeypatch, capsys) -> None:
    honest, attempts = attempt.execute, []

    def execute(source, output, parameters, *rest) -> None:
        attempts.append(parameters["seed"])
        if parameters["seed"] == 1 and attempts.count(1) < 3:
            raise NotebookError("not yet")
        honest(source, output, parameters, *rest)

    monkeypatch.setattr(attempt, "execute", execute)
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1, 7]})
    assert run_suite(suite, tmp_path, jobs=1, only=["full"], retries=2) == 1
    assert {seed: attempts.count(seed) for seed in (0, 1, 7)} == {0: 1, 1: 3, 7: 3}
    assert [planned.complete for planned in plan(suite, tmp_path, ["full"])] == [True, True, False]
    assert "full 12 bits seed 1: not yet; it will be attempted again (2 of 2)" in capsys.readouterr().err


def test_a_complete_run_leaves_no_attempt_behind(small: str, fast: list, tmp_path: Path) -> None:
    """Nor those of a runner whose work this one could not go on with, as on a cluster without a shared disk."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    earlier = tmp_path / ".work" / f"{plan(suite, tmp_path)[0].identity.name}.earlier"
    earlier.mkdir(parents=True)
    (earlier / "checkpoint.pt").write_text("half way")
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**local, local_directory=str(tmp_path / "scratch")) as cluster:
        assert run_suite(suite, tmp_path, only=["full"], scheduler=cluster.scheduler_address) == 0
    assert not earlier.exists()


def test_a_run_that_another_runner_holds_is_left_to_it(small: str, fast: list, tmp_path: Path, capsys) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1]})
    held = plan(suite, tmp_path)[0]
    (tmp_path / ".work").mkdir()
    lock = FileLock(tmp_path / ".work" / f"{held.identity.name}.lock")
    with ThreadPoolExecutor(1) as executor, lock:
        other = executor.submit(run_suite, suite, tmp_path, jobs=1)
        assert wait_for(lambda: len(list(tmp_path.glob("complete/*"))) == 3)
        assert not other.done()
        run_suite(suite.with_settings({"seed": 0}), tmp_path / "elsewhere", jobs=1, only=["full"])
        shutil.copytree(tmp_path / "elsewhere" / "complete", tmp_path / "complete", dirs_exist_ok=True)
    assert other.result() == 0
    assert (held.config.seed, held.config.center_weight) not in {(p["seed"], p["center_weight"]) for p in fast[:3]}
    assert "full 12 bits seed 0: run by another runner" in capsys.readouterr().err


def test_status_tells_what_is_done_running_failed_and_waiting(small: str, fast: list, tmp_path: Path, capsys) -> None:
    out = tmp_path / "runs"
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 7, 1, 2]})
    run_suite(suite, out, jobs=1, only=["full"], command="python -m ablations run small")
    names = [planned.identity.name for planned in plan(suite, out, ["full"])]
    shutil.rmtree(out / "complete" / names[2])
    shutil.rmtree(out / "complete" / names[3])
    with FileLock(out / ".work" / f"{names[2]}.lock"):
        assert main(["status", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"small: 1 of 4 runs complete, 1 failed, 1 running, 1 waiting, about \d+ s left", lines[0])
    assert lines[1].startswith("  running: full 12 bits seed 1 (")
    failed = f"ZeroDivisionError: seed seven is unlucky (see {out / 'failed' / names[1]})"
    assert lines[2] == f"  failed: full 12 bits seed 7: {failed}"
    assert main(["status", str(out)]) == 0
    assert "  nothing runs; go on with: python -m ablations run small" in capsys.readouterr().out.splitlines()


def test_status_takes_the_start_from_what_the_runner_wrote(small: str, fast: list, tmp_path: Path) -> None:
    """A lock's modification time says nothing of it."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    run_suite(suite, tmp_path, jobs=1, only=["full"])
    [directory] = (tmp_path / "complete").iterdir()
    shutil.rmtree(directory)
    work = tmp_path / ".work" / directory.name
    written = float(Path(f"{work}.started").read_text())
    assert 0 <= time.time() - written < 60
    Path(f"{work}.started").write_text(repr(written - 600))
    with FileLock(f"{work}.lock"):
        os.utime(f"{work}.lock", (0, 0))
        assert "  running: full 12 bits seed 0 (10 min)" in status(tmp_path).splitlines()


def test_status_of_a_directory_in_which_nothing_ran(tmp_path: Path, capsys) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: no suite was ever run in {tmp_path}\n"


# Methods of one's own.


def test_a_copy_of_a_file_of_ones_own_is_in_the_run_directory(small: str, fast: list, tmp_path: Path) -> None:
    path = write_own(Path(small))
    run_small(path, tmp_path, bits=12, seed=0)
    for planned in plan(load_suite(path).with_settings({"bits": 12, "seed": 0}), tmp_path):
        copy = tmp_path / "complete" / planned.identity.name / "pull.py"
        assert (copy.read_text() if copy.exists() else None) == (OWN if planned.run.variant == "own" else None)


def test_the_notebook_is_given_the_copy_and_the_constants_of_a_file_of_ones_own(
    small: str, fast: list, tmp_path: Path
) -> None:
    path = write_own(Path(small))
    run_suite(load_suite(path).with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1, only=["own"])
    assert fast[0]["objective"] == f"{fast[0]['run_dir']}/pull.py:Pull"
    assert fast[0]["tau"] == 0.5


def test_an_edited_file_of_ones_own_runs_its_variants_alone_again(small: str, fast: list, tmp_path: Path) -> None:
    path = write_own(Path(small))
    run_small(path, tmp_path, bits=12)
    fast.clear()
    (tmp_path / "pull.py").write_text(OWN.replace("self.tau - ", "2 * self.tau - "))
    run_small(path, tmp_path, bits=12)
    assert [os.path.basename(parameters["objective"]) for parameters in fast] == ["pull.py:Pull"] * 3


def test_one_variant_more_runs_alone(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12)
    fast.clear()
    run_small(write_own(Path(small)), tmp_path, bits=12)
    assert [os.path.basename(parameters["objective"]) for parameters in fast] == ["pull.py:Pull"] * 3


def test_a_file_of_ones_own_that_is_moved_with_its_suite_runs_nothing_again(
    small: str, fast: list, tmp_path: Path
) -> None:
    run_small(write_own(Path(small)), tmp_path, bits=12)
    fast.clear()
    (tmp_path / "elsewhere").mkdir()
    run_small(write_own(tmp_path / "elsewhere" / "small.yaml"), tmp_path, bits=12)
    assert fast == []


@pytest.mark.parametrize("edited", [OWN.replace("self.tau - ", "2 * self.tau - "), None], ids=["edited", "deleted"])
def test_all_runs_of_a_batch_are_of_the_file_as_it_was_at_the_start(
    small: str, fast: list, tmp_path: Path, monkeypatch, edited: str | None
) -> None:
    suite = load_suite(write_own(Path(small))).with_settings({"bits": 12})
    honest, own = attempt.execute, tmp_path / "pull.py"

    def execute(*arguments) -> None:
        honest(*arguments)
        own.unlink(missing_ok=True)
        if edited:
            own.write_text(edited)

    monkeypatch.setattr(attempt, "execute", execute)
    assert run_suite(suite, tmp_path, jobs=1, only=["own"]) == 0
    assert [path.read_text() for path in tmp_path.glob("complete/*/pull.py")] == [OWN] * 3
    own.write_text(OWN)
    assert [planned.complete for planned in plan(suite, tmp_path, ["own"])] == [True] * 3


BROKEN = {
    "def compute(": ("def compute(self, outputs labels):", "invalid syntax"),
    "return {": ("return {'pul': outputs.relaxed.mean()}", "it must give the terms ['pull']"),
    "constants =": ('constants = {"tau": 1 / 0}', "ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("place", list(BROKEN))
def test_a_broken_file_of_ones_own_is_one_sentence_before_any_run(
    small: str, fast: list, tmp_path: Path, capsys, place: str
) -> None:
    path, own = write_own(Path(small)), tmp_path / "pull.py"
    lines = OWN.splitlines()
    [number] = [number for number, line in enumerate(lines) if place in line]
    indent = lines[number][: -len(lines[number].lstrip())]
    lines[number] = indent + BROKEN[place][0]
    own.write_text("\n".join(lines))
    assert main(["run", path, "--out", str(tmp_path / "runs")]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert re.search(
        rf"^error: suite 'small'.*{re.escape(str(own))}, line \d+.*{re.escape(BROKEN[place][1])}", sentence
    )
    assert fast == []
    assert not (tmp_path / "runs").exists()


def test_each_method_of_ones_own_is_rehearsed_once(small: str, tmp_path: Path, monkeypatch) -> None:
    rehearsed = []
    monkeypatch.setattr(runner, "rehearse", rehearsed.append)
    plan(load_suite(write_own(Path(small))), tmp_path, ["own"])
    assert [config.bits for config in rehearsed] == [12, 48]


# Runs that are complete under another source.


@pytest.mark.parametrize("dry", [True, False], ids=["--dry-run", "run"])
def test_what_is_complete_under_another_source_is_said(
    small: str, fast: list, tmp_path: Path, capsys, dry: bool
) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    (identity.CORE / "losses.py").write_text("a = 2")
    arguments = ["run", small, "--out", str(tmp_path), "--jobs", "1", *(["--dry-run"] if dry else [])]
    capsys.readouterr()
    assert main([*arguments, "--set", "seed=0"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == (
        "2 of 4 runs are complete under another source (losses.py changed since) and are to be run again; "
        "`report --any-source` shows them as they are"
    )
    if dry:
        states = [line.rpartition(" (")[0] for line in said.out.splitlines()]
        assert states == [
            "full 12 bits seed 0: to do, as losses.py changed since it was complete",
            "no_center 12 bits seed 0: to do, as losses.py changed since it was complete",
            "full 48 bits seed 0: to do",
            "no_center 48 bits seed 0: to do",
        ]


def test_nothing_is_said_of_other_sources_where_all_is_complete(small: str, fast: list, tmp_path: Path, capsys) -> None:
    """Newer runs of another source included."""
    for content in ("a = 1", "a = 2"):
        (identity.CORE / "losses.py").write_text(content)
        run_small(small, tmp_path, bits=12, seed=0)
    (identity.CORE / "losses.py").write_text("a = 1")
    capsys.readouterr()
    run_small(small, tmp_path, bits=12, seed=0)
    assert capsys.readouterr().err.splitlines() == ["small: 2 runs, 2 complete, 0 to do"]


def test_of_several_other_sources_the_newest_counts(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    run_suite(suite, tmp_path, jobs=1, only=["full"])
    for name in ("losses.py", "heads.py", "faces.py"):
        (identity.CORE / name).write_text("a = 2")
        if name == "heads.py":
            run_suite(suite, tmp_path, jobs=1, only=["full"])
    assert plan(suite, tmp_path, ["full"])[0].changed == ["faces.py"]


# Validation.


def test_validation_is_runs_like_all_others(small: str, fast: list, tmp_path: Path, capsys) -> None:
    """They are other runs than those on the queries, complete once, and what fails is attempted again."""
    run_small(small, tmp_path, bits=12, seed=0)
    fast.clear()
    arguments = [
        "run",
        small,
        "--out",
        str(tmp_path),
        "--jobs",
        "1",
        "--set",
        "scored_on=validation",
        "--set",
        "bits=12",
    ]
    assert main([*arguments, "--set", "seed=[0, 7]", "--retries", "1"]) == 1
    seeds = [parameters["seed"] for parameters in fast]
    assert {parameters["scored_on"] for parameters in fast} == {"validation"}
    assert (seeds.count(0), seeds.count(7)) == (2, 4)
    fast.clear()
    assert main([*arguments, "--set", "seed=[0, 1]"]) == 0
    assert [parameters["seed"] for parameters in fast] == [1, 1]
    assert "--set scored_on=validation --set bits=12" in capsys.readouterr().err.splitlines()[-1]


def test_validation_never_sees_a_query() -> None:
    config = Config(new_people=0.25)
    split, inner = load_split(config), load_split(dataclasses.replace(config, scored_on="validation"))
    parts = [inner.training, inner.queries, inner.new_gallery, inner.new_queries]
    images = [{image.tobytes() for image in part.images} for part in parts]
    assert set().union(*images) == {image.tobytes() for image in split.training.images}
    assert identity.faces_hash(config) != identity.faces_hash(dataclasses.replace(config, scored_on="validation"))


def test_a_damaged_plan_is_named_and_the_others_are_told(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    (tmp_path / ".work" / "other.1.plan.json").write_text("[1")
    said = status(tmp_path)
    assert "other.1.plan.json is damaged; delete it" in said
    assert "small: 12 of 12 runs complete" in said


def test_a_root_may_begin_at_home(small: str, fast: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    suite = load_suite(small).with_settings({"dataset": "folder", "root": "~/faces", "bits": 12, "seed": 0})
    run_suite(suite, tmp_path / "runs", only=["full"])
    assert fast[0]["root"] == str(tmp_path / "faces")


# What breaks while a result is kept.


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*"))}


def break_from(step: int, broken: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let ``broken`` happen at each call to the system that makes or moves a file, from the step-th on.

    Half of what that one was to write is written. Returns the list of the calls.
    """
    calls: list[str] = []

    def count(name: str) -> None:
        calls.append(name)
        if len(calls) >= step:
            broken()

    class File(io.FileIO):
        def write(self, data) -> int:
            if len(calls) == step - 1:
                super().write(data[: len(data) // 2])
            count("write")
            return super().write(data)

    def opened(path, mode="r", *rest):
        if "w" not in mode:
            return reading(path, mode, *rest)
        count("open")
        return io.BufferedWriter(File(path, mode))

    reading = io.open

    def counted(name: str) -> Callable:
        honest = getattr(os, name)
        return lambda *arguments: (count(name), honest(*arguments))[1]

    monkeypatch.setattr(io, "open", opened)
    for name in ("mkdir", "rename", "fsync"):
        monkeypatch.setattr(os, name, counted(name))
    return calls


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def in_a_process_of_its_own(function: Callable[[], object]) -> int:
    """The exit status of a forked process that calls it."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own is killed")
@pytest.mark.parametrize("killed", [False, True], ids=["full", "killed"])
@pytest.mark.parametrize(("seed", "place"), [(0, "complete"), (7, "failed")], ids=["complete", "failed"])
def test_whatever_step_of_keeping_breaks_the_old_directory_or_the_new_one_is_there_whole(
    small: str, fast: list, tmp_path: Path, monkeypatch, seed: int, place: str, killed: bool
) -> None:
    """The old one is that of a damaged run, or of an earlier failure."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": seed})
    keep, kept = {"complete": runner._keep, "failed": runner._keep_failure}[place], []
    with monkeypatch.context() as patch:
        patch.setattr(runner, keep.__name__, lambda *arguments: (kept.append(arguments), keep(*arguments))[1])
        run_suite(suite, tmp_path / "before", jobs=1, only=["full"])
    [(_, *what)] = kept
    name = plan(suite, tmp_path, ["full"])[0].identity.name
    new = contents(tmp_path / "before" / place / name)
    damaged = {"complete": "run.json", "failed": "error.txt"}[place]
    (tmp_path / "before" / place / name / damaged).write_text("old")
    old = {**new, damaged: b"old"}
    honest, steps = attempt.execute, []
    for step in itertools.count(1):
        out = tmp_path / str(step)
        shutil.copytree(tmp_path / "before", out)
        directory, seen = out / place / name, []

        def broken_keep(out: Path = out, step: int = step) -> None:
            with monkeypatch.context() as patch:
                calls = break_from(step, (lambda: os._exit(9)) if killed else no_space, patch)
                try:
                    keep(out, *what)
                finally:
                    steps[:] = calls

        if killed:
            if in_a_process_of_its_own(broken_keep) == 0:
                break
        else:
            with contextlib.suppress(OSError):
                broken_keep()
                break
        put_aside = [contents(path) for path in (out / ".work").glob("*.replaced")]
        assert contents(directory) in (old, new) or put_aside == [old]
        assert plan(suite, out, ["full"])[0].complete == (place == "complete" and contents(directory) == new)

        def execute(*arguments, directory: Path = directory, seen: list = seen) -> None:
            seen.append(contents(directory))
            honest(*arguments)

        monkeypatch.setattr(attempt, "execute", execute)
        assert run_suite(suite, out, jobs=1, only=["full"]) == (place == "failed")
        assert [found for found in seen if found not in (old, new)] == []
        assert sorted(contents(directory)) == sorted(new)
        assert plan(suite, out, ["full"])[0].complete == (place == "complete")
    assert step > 4 * len(new)
    assert killed or set(steps) == {"mkdir", "open", "write", "fsync", "rename"}


def test_an_output_directory_below_a_file_is_one_sentence(small: str, fast: list, capsys) -> None:
    assert main(["run", small, "--out", f"{small}/runs"]) == 2
    assert capsys.readouterr().err == (
        f"error: cannot write to {small}/runs: Not a directory; nothing incomplete is counted, so mend that or choose "
        "another --out, and start again\n"
    )
    assert main(["status", f"{small}/runs"]) == 2
    assert capsys.readouterr().err == f"error: no suite was ever run in {small}/runs\n"
    assert fast == []


def test_an_output_directory_that_becomes_read_only_is_one_sentence_and_what_is_complete_stays(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    out, honest = tmp_path / "runs", attempt.execute
    arguments = ["run", small, "--set", "seed=[0, 1]", "--only", "full", "--out", str(out), "--jobs", "1"]
    with pytest.MonkeyPatch.context() as patch:

        def execute(*rest) -> None:
            honest(*rest)
            if len(fast) == 2:
                break_from(1, read_only, patch)

        monkeypatch.setattr(attempt, "execute", execute)
        assert main(arguments) == 2
    *_, first, error = capsys.readouterr().err.splitlines()
    assert first.startswith("[1/4] full 12 bits seed 0: MAP 0.530")
    assert error.startswith(f"error: cannot write to {out}: Read-only file system; nothing incomplete is counted")
    assert len(list(out.glob("complete/*"))) == 1
    assert main(arguments) == 0
    assert len(fast) == 5
    assert len(list(out.glob("complete/*"))) == 4


def test_status_needs_not_write(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    """As in the directory of another user."""
    run_suite(load_suite(small).with_settings({"bits": 12, "seed": [0, 7]}), tmp_path, jobs=1, only=["full"])
    [directory] = (tmp_path / "complete").iterdir()
    shutil.rmtree(directory)
    honest = os.open

    def open_to_read(path, flags: int, *rest, **options) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return honest(path, flags, *rest, **options)

    with FileLock(tmp_path / ".work" / f"{directory.name}.lock"):
        monkeypatch.setattr(os, "open", open_to_read)
        said = status(tmp_path).splitlines()
    assert said[0] == "small: 0 of 2 runs complete, 1 failed, 1 running, 0 waiting"
    assert said[1].startswith("  running: full 12 bits seed 0 (")
    assert status(tmp_path).splitlines()[0] == "small: 0 of 2 runs complete, 1 failed, 0 running, 1 waiting"


# Names.


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_an_output_directory_may_have_any_name(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys, name: str
) -> None:
    """Also in the command that is to be typed next."""
    monkeypatch.chdir(tmp_path)
    assert main(["run", small, "--set", "bits=12", "--set", "seed=0", f"--out={name}"]) == 0
    assert len(list((tmp_path / name / "complete").iterdir())) == 2
    _, _, hint = capsys.readouterr().err.partition("report: python -m ablations ")
    found: list[Path] = []
    monkeypatch.setattr(command_line, "_report", lambda options: found.append(options.out) or 0)
    assert main(shlex.split(hint)) == 0
    assert found == [Path(name)]
    assert main(["status", "--", name]) == 0
    assert capsys.readouterr().out.startswith("small: 2 of 2 runs complete")


@pytest.mark.parametrize("letter", ["n", "漢"])
def test_a_suite_may_have_as_long_a_name_as_a_file(small: str, fast: list, tmp_path: Path, letter: str) -> None:
    name = letter * (250 // len(letter.encode()))
    path, out = tmp_path / f"{name}.yaml", tmp_path / "runs"
    Path(small).rename(path)
    assert run_small(str(path), out, bits=12, seed=0) == 0
    assert status(out).startswith(f"{name}: 2 of 2 runs complete")
    assert main(["report", str(path), "--set", "bits=12", "--set", "seed=0", "--out", str(out)]) == 0
    assert (out / "reports" / name / "report.html").exists()


# A clock that is set back.


def test_a_clock_that_jumps_back_changes_no_duration_and_no_result(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    """By an hour at each look, while twelve runs are made and what is there is from the future."""
    run_small(small, tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "runs")
    for path in (tmp_path / "runs").rglob("*"):
        os.utime(path, (2**32, 2**32))
    for path in list((tmp_path / "runs").glob("complete/*/result.json"))[:6]:
        path.unlink()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        now = itertools.count(time.time(), -3600)
        patch.setattr(time, "time", lambda: next(now))
        assert main(["run", small, "--out", str(tmp_path / "runs"), "--jobs", "2"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "small: 12 runs, 6 complete, 6 to do"
    assert len([line for line in said if re.search(r"MAP 0\.\d{3}, \d+ s(, about \d+ s left)?$", line)]) == 6
    before, after = (collect(load_suite(small), tmp_path / place) for place in ("before", "runs"))
    assert (after["seconds"] >= 0).all()
    pd.testing.assert_frame_equal(after.drop(columns="seconds"), before.drop(columns="seconds"))


def test_status_says_nothing_of_a_start_in_the_future(small: str, fast: list, tmp_path: Path) -> None:
    run_suite(load_suite(small).with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1, only=["full"])
    [directory] = (tmp_path / "complete").iterdir()
    shutil.rmtree(directory)
    (tmp_path / ".work" / f"{directory.name}.started").write_text(repr(time.time() + 7200))
    with FileLock(tmp_path / ".work" / f"{directory.name}.lock"):
        assert status(tmp_path).splitlines()[1] == "  running: full 12 bits seed 0"
