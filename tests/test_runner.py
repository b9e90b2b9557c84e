"""The runner completes each cell once, whatever fails; a stub stands in place of the training notebook."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import LocalCluster
from filelock import FileLock

from ablations import attempt, identity
from ablations.__main__ import main
from ablations.execution import NotebookError
from ablations.identity import read_cell
from ablations.report import collect
from ablations.runner import plan, run
from ablations.suite import load_suite
from dcbh_core import Config
from tests.stub_suite import edit, run_small, wait_for, write_suite


def test_run_makes_complete_cells_and_nothing_else(small: str, fast: list, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    failed = run_small(small, out)
    names = {planned.identity.name for planned in plan(load_suite(small), out)}
    assert failed == 0
    assert {path.name for path in (out / "cells").iterdir()} == names
    assert {path.suffix for path in (out / ".work").iterdir()} == {".lock", ".json"}
    assert sorted(path.name for path in out.iterdir()) == [".work", "cells"]


def test_a_cell_directory_holds_what_the_notebook_and_the_runner_wrote(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    directory = tmp_path / "cells" / plan(load_suite(small), tmp_path)[0].identity.name
    assert sorted(path.name for path in directory.iterdir()) == ["cell.json", "notebook.ipynb", "pid", "result.json"]


def test_the_notebook_is_given_the_whole_resolved_config(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    parameters = next(p for p in fast if p["center_weight"] != 0)
    run_dir = Path(parameters.pop("run_dir"))
    assert parameters == load_suite(small).cells()[0].config.resolved().to_dict()
    assert run_dir.parent == tmp_path / ".work"


def test_the_notebook_is_given_an_absolute_root(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=0, dataset="folder", root="faces")
    assert {p["root"] for p in fast} == {os.path.abspath("faces")}


def test_complete_cells_are_not_run_again(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, seed=[0, 1])
    fast.clear()
    run_small(small, tmp_path)
    assert sorted((p["bits"], p["seed"], p["center_weight"]) for p in fast) == [
        (12, 2, 0),
        (12, 2, 1e-4),
        (48, 2, 0),
        (48, 2, 1e-4),
    ]


@pytest.mark.parametrize("damage", ["truncated", "corrupted", "foreign", "no cell.json", "no metrics"])
def test_a_damaged_cell_is_run_again(small: str, fast: list, tmp_path: Path, damage: str) -> None:
    run_small(small, tmp_path)
    first, second = (tmp_path / "cells" / p.identity.name for p in plan(load_suite(small), tmp_path)[:2])
    if damage == "truncated":
        (first / "result.json").write_text((first / "result.json").read_text()[:100])
    elif damage == "corrupted":
        (first / "result.json").write_text((first / "result.json").read_text().replace('"map": 0.5', '"map": 0.9'))
    elif damage == "foreign":
        (first / "result.json").write_bytes((second / "result.json").read_bytes())
    elif damage == "no cell.json":
        (first / "cell.json").unlink()
    else:
        edit(first / "result.json", "metrics", {})
    fast.clear()
    run_small(small, tmp_path)
    assert len(fast) == 1
    assert read_cell(first)["result"]["metrics"]["map"] > 0


def test_equal_cells_run_once_and_are_shown_under_each_variant(small: str, fast: list, tmp_path: Path) -> None:
    variants = {"full": {}, "a": {"head": "fc"}, "b": {"head": "fc"}}
    path = write_suite(Path(small), variants=variants)
    run_small(path, tmp_path)
    assert len(fast) == 12
    assert collect(load_suite(path), tmp_path)["variant"].value_counts().to_dict() == {"full": 6, "a": 6, "b": 6}


def test_a_failed_cell_does_not_stop_the_others(small: str, fast: list, tmp_path: Path, capsys) -> None:
    suite = load_suite(small).with_settings({"seed": [7, 0], "bits": 12})
    assert run(suite, tmp_path, jobs=1) == 2
    done = {p.cell.label: p.complete for p in plan(suite, tmp_path)}
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
    assert {path.suffix for path in (tmp_path / ".work").iterdir()} == {".lock", ".json"}


def test_a_failure_is_forgotten_once_the_cell_is_complete(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small).with_settings({"seed": 0, "bits": 12})
    failed = tmp_path / "failed" / plan(suite, tmp_path)[0].identity.name
    failed.mkdir(parents=True)
    run(suite, tmp_path, jobs=1)
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
    run(load_suite(small).with_settings({"bits": 12, "seed": [0, 1]}), tmp_path, jobs=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "small: 4 cells, 0 complete, 4 to do"
    assert lines[1].startswith("[1/4] full 12 bits seed 0: MAP 0.530, ")
    assert lines[4].startswith("[4/4] no_center 12 bits seed 1: MAP 0.470, ")


def test_a_failed_cell_is_tried_again(small: str, fast: list, tmp_path: Path, monkeypatch, capsys) -> None:
    honest, tries = attempt.execute, []

    def execute(source, output, parameters, *rest) -> None:
        tries.append(parameters["seed"])
        if parameters["seed"] == 1 and tries.count(1) < 3:
            raise NotebookError("not yet")
        honest(source, output, parameters, *rest)

    monkeypatch.setattr(attempt, "execute", execute)
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1, 7]})
    assert run(suite, tmp_path, jobs=1, only=["full"], retries=2) == 1
    assert {seed: tries.count(seed) for seed in (0, 1, 7)} == {0: 1, 1: 3, 7: 3}
    assert [planned.complete for planned in plan(suite, tmp_path, ["full"])] == [True, True, False]
    assert "full 12 bits seed 1: not yet; it will be tried again (2 of 2)" in capsys.readouterr().err


def test_a_complete_cell_leaves_no_try_behind(small: str, fast: list, tmp_path: Path) -> None:
    """Nor those of a runner whose work this one could not go on with, as on a cluster without a shared disk."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    earlier = tmp_path / ".work" / f"{plan(suite, tmp_path)[0].identity.name}.earlier"
    earlier.mkdir(parents=True)
    (earlier / "checkpoint.pt").write_text("half way")
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**local, local_directory=str(tmp_path / "scratch")) as cluster:
        assert run(suite, tmp_path, only=["full"], scheduler=cluster.scheduler_address) == 0
    assert not earlier.exists()


def test_a_cell_that_another_runner_holds_is_left_to_it(small: str, fast: list, tmp_path: Path, capsys) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1]})
    held = plan(suite, tmp_path)[0]
    (tmp_path / ".work").mkdir()
    lock = FileLock(tmp_path / ".work" / f"{held.identity.name}.lock")
    with ThreadPoolExecutor(1) as executor, lock:
        other = executor.submit(run, suite, tmp_path, jobs=1)
        assert wait_for(lambda: len(list(tmp_path.glob("cells/*"))) == 3)
        assert not other.done()
        run(suite.with_settings({"seed": 0}), tmp_path / "elsewhere", jobs=1, only=["full"])
        shutil.copytree(tmp_path / "elsewhere" / "cells", tmp_path / "cells", dirs_exist_ok=True)
    assert other.result() == 0
    assert (held.config.seed, held.config.center_weight) not in {(p["seed"], p["center_weight"]) for p in fast[:3]}
    assert "full 12 bits seed 0: run by another runner" in capsys.readouterr().err


def test_status_tells_what_is_done_running_failed_and_waiting(small: str, fast: list, tmp_path: Path, capsys) -> None:
    out = tmp_path / "runs"
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 7, 1, 2]})
    run(suite, out, jobs=1, only=["full"], command="python -m ablations run small")
    names = [planned.identity.name for planned in plan(suite, out, ["full"])]
    shutil.rmtree(out / "cells" / names[2])
    shutil.rmtree(out / "cells" / names[3])
    with FileLock(out / ".work" / f"{names[2]}.lock"):
        assert main(["status", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"small: 1 of 4 cells complete, 1 failed, 1 running, 1 waiting, about \d+ s left", lines[0])
    assert lines[1].startswith("  running: full 12 bits seed 1 (")
    failed = f"ZeroDivisionError: seed seven is unlucky (see {out / 'failed' / names[1]})"
    assert lines[2] == f"  failed: full 12 bits seed 7: {failed}"
    assert main(["status", str(out)]) == 0
    assert "  nothing runs; go on with: python -m ablations run small" in capsys.readouterr().out.splitlines()


def test_status_of_a_directory_in_which_nothing_ran(tmp_path: Path, capsys) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: no suite was ever run in {tmp_path}\n"
