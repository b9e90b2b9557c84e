"""Ablations, with a stub in place of the training notebook: its MAP is made up from bits and seed."""

import dataclasses
import hashlib
import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import nbformat
import pandas as pd
import psutil
import pytest
import scipy.stats
import yaml
from distributed import LocalCluster
from filelock import FileLock

from ablations import attempt, identity, records, report, workers
from ablations import suite as suites
from ablations.__main__ import main
from ablations.attempt import Task
from ablations.execution import NotebookError
from ablations.identity import identify, read_cell
from ablations.records import record, recorded
from ablations.report import collect, markdown, missing_cells, notes, summary, table
from ablations.runner import plan, run
from ablations.suite import load_suite, parse_yaml
from ablations.workers import attempt_on_cluster
from dcbh_core import Config, figures
from dcbh_core.config import OBJECTIVE_DEFAULTS
from dcbh_core.training import Training
from tests.conftest import synthetic_faces

FIELDS = [field.name for field in dataclasses.fields(Config)]
STUB = f"""
import json, os, pathlib, time
out = pathlib.Path(run_dir)
(out / "pid").write_text(str(os.getpid()))
if seed == 7:
    raise ZeroDivisionError("seed seven is unlucky")
if seed == 8:
    time.sleep(60)
if seed == 9:
    os._exit(1)
config = {{name: globals()[name] for name in {FIELDS}}}
score = 0.4 + bits / 100 - 0.1 * (center_weight == 0) + (seed * 37 + bits) % 11 / 100
metrics = {{"map": score, "precision_at_50": score / 2, "chance": 0.05, "pixels": 0.3, "descriptor": score + 0.01}}
environment = {{"device": device, "dtype": dtype, "machine": "a CPU", "torch": "2.13"}}
environment["threads"] = os.environ.get("OMP_NUM_THREADS")
result = {{"config": config, "metrics": metrics, "environment": environment, "timings": {{"train_s": 1.5}}}}
(out / "result.json").write_text(json.dumps(result))
"""
SMALL = """
title: A small suite
about: Does the stub work?
base: {dataset: orl, width: 0.25, device: cpu, dtype: float32}
variants:
  full: {}
  no_center: {center_weight: 0}
grid:
  bits: [12, 48]
  seed: [0, 1, 2]
"""


def write_notebook(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def write_suite(path: Path, text: str = SMALL, **changes: object) -> str:
    """A suite file with keys changed; returns its path as text."""
    path.write_text(yaml.safe_dump({**yaml.safe_load(text), **changes}, sort_keys=False))
    return str(path)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of the small suite, with stub notebooks, made-up faces, and a core that nobody edits meanwhile."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "losses.py").write_text("a = 1")
    (tmp_path / "core" / "figures.py").write_text("a = 1")
    monkeypatch.setattr(identity, "CORE", tmp_path / "core")
    defaults = "\n".join(f"{name} = None" for name in [*FIELDS, "run_dir"])
    write_notebook(tmp_path / "notebooks" / identity.TRAINING_NOTEBOOK, defaults, STUB)
    monkeypatch.setattr(identity, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(identity, "faces_hash", lambda config: f"faces of {config.dataset}, split {config.split_seed}")
    return write_suite(tmp_path / "small.yaml")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Runs the stub in this process instead of papermill; returns the list of the parameters of all executions."""
    executed = []

    def execute(source, output, parameters, *rest):
        executed.append(parameters)
        output.write_text("{}")
        try:
            exec(STUB, dict(parameters))
        except ZeroDivisionError as error:
            message = f"ZeroDivisionError: {error}"
            raise NotebookError(message, f"Traceback\n{message}") from None

    monkeypatch.setattr(attempt, "execute", execute)
    return executed


# Suites


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        *[("orl_quick", 18), ("orl", 240), ("orl_published", 3), ("lfw", 9), ("paper", 108)],
        *[("peers_orl", 96), ("peers_lfw", 96), ("peers_lfw_split1", 30)],
        *[("ingredients_orl", 35), ("ingredients_lfw", 35)],
    ],
)
def test_shipped_suites_expand(name: str, cells: int) -> None:
    suite = load_suite(name)
    if name == "paper":
        suite = suite.with_settings({"root": "somewhere"})
    assert len(suite.cells()) == len(suite) == cells


PAPERS_ABLATIONS = ["lfw", "orl", "orl_published", "orl_quick", "paper"]
PEERS = ["peers_lfw", "peers_lfw_split1", "peers_orl"]


def test_every_shipped_suite_is_tested() -> None:
    assert suites.suite_names() == sorted([*PAPERS_ABLATIONS, *PEERS, "ingredients_lfw", "ingredients_orl"])


@pytest.mark.parametrize("name", PEERS)
def test_suites_of_peers_write_out_every_field_of_each_objective(name: str) -> None:
    suite = load_suite(name)
    assert {suite.field(variant, "objective") for variant in suite.variants} >= set(OBJECTIVE_DEFAULTS)
    for variant, fields in suite.variants.items():
        own = OBJECTIVE_DEFAULTS[fields["objective"]]
        assert set(fields) >= {*own, "objective", "learning_rate"}, variant


def test_the_second_split_differs_from_the_first_in_its_seed_alone() -> None:
    first, second = load_suite("peers_lfw"), load_suite("peers_lfw_split1")
    assert second.variants == first.variants
    assert second.base == {**first.base, "split_seed": 1}


@pytest.mark.parametrize("name", ["peers_lfw", "peers_orl"])
def test_suites_of_peers_have_five_seeds_at_the_shortest_and_the_longest_code(name: str) -> None:
    suite = load_suite(name)
    assert {point["bits"]: suite.seeds_at(point) for point in suite.points(without="seed")} == {
        12: 5,
        24: 3,
        36: 3,
        48: 5,
    }
    assert list(suite.grid) == ["bits", "seed"]
    assert suite.grid == {"bits": [12, 24, 36, 48], "seed": [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("name", PAPERS_ABLATIONS)
def test_shipped_suites_write_out_the_weights_of_the_paper(name: str) -> None:
    base = load_suite(name).base
    paper = {"feature_weight": 1.0, "center_weight": 1e-4, "quantization_weight": 0.1, "quantization_target": 0.5}
    network = {"objective": "dcbh", "block_size": 6, "head": "block", "multi_scale": True}
    assert {**base, **paper, **network} == base


def test_the_paper_suite_asks_for_its_data() -> None:
    with pytest.raises(ValueError, match=r"paper.*needs root"):
        load_suite("paper").cells()


def test_null_takes_the_base_value_away(tmp_path: Path) -> None:
    variants = {"full": {}, "none": {"quantization_weight": 0, "quantization_target": None}}
    path = write_suite(tmp_path / "s.yaml", base={"quantization_target": 0.5}, variants=variants)
    assert load_suite(path).cells()[1].config.quantization_target is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"varients": {}}, "suite 's': the file: unknown key 'varients'; did you mean 'variants'"),
        ({"title": None}, "title must be a text"),
        ({"about": ["x"]}, "about must be a text"),
        ({"variants": {}}, "at least one variant"),
        ({"variants": ["full"]}, "variants must map names to values"),
        ({"variants": {"full": {}, False: {}}}, "name False must be a text"),
        ({"variants": {"full": {}, "fc": "fc"}}, "variant 'fc' must map names to values"),
        (
            {"variants": {"full": {}, "fc": {"hed": "fc"}}},
            "variant 'fc': unknown config field 'hed'; did you mean 'head'",
        ),
        ({"variants": {"full": {}, "fc": {"bits": 8}}}, "variant 'fc' sets bits, which is a grid axis"),
        ({"base": {"widht": 1}}, "base: unknown config field 'widht'; did you mean 'width'"),
        ({"base": {"seed": 1}}, "seed is in base and in grid"),
        ({"grid": {"bit": [1]}}, "grid: unknown config field 'bit'; did you mean 'bits'"),
        ({"grid": {"bits": 12}}, "grid axis bits must be a list of distinct values, not 12"),
        ({"grid": {"bits": []}}, "grid axis bits must be a list of distinct values"),
        ({"grid": {"bits": [12, 12]}}, "grid axis bits must be a list of distinct values"),
        (
            {"grid": [{"bits": [12]}, {"seed": [0]}]},
            "all grids must be over the same fields in one order",
        ),
        ({"grid": [{"bits": [12]}, {"bits": 24}]}, "grid axis bits must be a list of distinct values, not 24"),
        ({"tuning": {"rates": [1]}}, "tuning: unknown key 'rates'"),
        ({"tuning": {"learning_rate": [1.0]}}, "tuning needs at, learning_rate and own"),
        (
            {"tuning": {"at": {}, "learning_rate": [1.0], "own": {"ful": {"center_weight": [0]}}}},
            "unknown variant to tune 'ful'; did you mean 'full'",
        ),
        (
            {"tuning": {"at": {}, "learning_rate": 1.0, "own": {}}},
            "tuning: learning_rate must be a list of distinct values, not 1.0",
        ),
        (
            {"tuning": {"at": {}, "learning_rate": [1.0], "own": {"full": {"bits": [1], "seed": [0]}}}},
            "tuning: own: full must be one field, not ['bits', 'seed']",
        ),
        ({"reference": "fulll"}, "unknown reference variant 'fulll'; did you mean 'full'"),
        ({"base": {"head": "blok"}}, "suite 's', full 12 bits seed 0: unknown head 'blok'; did you mean 'block'"),
        ({"variants": {"full": {}, "x": {"center_weight": 1.0e-4}}}, "variant 'x' is the same experiment as 'full' at"),
    ],
)
def test_bad_suites_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_suite(write_suite(tmp_path / "s.yaml", **changes)).cells()


@pytest.mark.parametrize(
    ("text", "message"), [("a: 1\nb: 2\na: 3", "key 'a' is given twice"), ("a: [1", "this is no YAML")]
)
def test_bad_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown suite 'orl_quik'; did you mean 'orl_quick'"):
        load_suite("orl_quik")


def test_a_missing_suite_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        load_suite(str(tmp_path / "none.yaml"))


def test_variants_other_than_the_reference_may_be_equal(tmp_path: Path) -> None:
    variants = {"full": {}, "a": {"head": "fc"}, "b": {"head": "fc"}}
    cells = load_suite(write_suite(tmp_path / "s.yaml", variants=variants, grid={})).cells()
    assert [cell.variant for cell in cells] == ["full", "a", "b"]


def test_the_reference_can_be_named(tmp_path: Path) -> None:
    assert load_suite(write_suite(tmp_path / "s.yaml", reference="no_center")).reference == "no_center"


@pytest.mark.parametrize(
    ("settings", "base", "grid"),
    [
        ({"width": 0.5}, {"width": 0.5}, {}),
        ({"bits": 24}, {}, {"bits": [24]}),
        ({"bits": [24, 36]}, {}, {"bits": [24, 36]}),
        ({"width": [0.5, 1.0]}, {"width": None}, {"width": [0.5, 1.0]}),
    ],
)
def test_settings(tmp_path: Path, settings: dict, base: dict, grid: dict) -> None:
    before = load_suite(write_suite(tmp_path / "s.yaml"))
    after = before.with_settings(settings)
    expected = {**before.base, **base}
    assert after.base == {name: value for name, value in expected.items() if value is not None}
    assert after.grid == {**before.grid, **grid}


GRIDS = [{"bits": [12], "seed": [0, 1, 2]}, {"bits": [24, 48], "seed": [0, 1]}]


def test_the_points_of_several_grids_come_grid_by_grid(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    points = [(point["bits"], point["seed"]) for point in suite.points()]
    assert points == [(12, 0), (12, 1), (12, 2), (24, 0), (24, 1), (48, 0), (48, 1)]
    assert suite.points(without="seed") == [{"bits": 12}, {"bits": 24}, {"bits": 48}]
    assert len(suite) == len(suite.cells()) == 14


def test_a_point_of_two_grids_is_one_point(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).with_settings({"bits": 36})
    assert suite.points() == [{"bits": 36, "seed": seed} for seed in (0, 1, 2)]


@pytest.mark.parametrize(
    ("settings", "points"),
    [
        ({"bits": 48}, [(48, 0), (48, 1)]),
        ({"bits": [48, 12]}, [(12, 0), (12, 1), (12, 2), (48, 0), (48, 1)]),
        ({"seed": 2}, [(12, 2)]),
        ({"bits": 48, "seed": [0, 2]}, [(48, 0), (48, 2)]),
        ({"seed": [7]}, [(12, 7), (24, 7), (48, 7)]),
        ({"bits": [12, 36]}, [(bits, seed) for bits in (12, 36) for seed in (0, 1, 2)]),
    ],
)
def test_settings_select_among_the_planned_points(tmp_path: Path, settings: dict, points: list) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).with_settings(settings)
    assert [(point["bits"], point["seed"]) for point in suite.points()] == points


def test_a_table_counts_the_seeds_of_each_point(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    frame = pd.DataFrame(
        [
            {"variant": cell.variant, **cell.point, "map": 0.5, "chance": 0.1, "pixels": 0.2, "descriptor": 0.6}
            for cell in suite.cells()
        ]
    )
    full = table(summary(frame, suite), suite).set_index("variant").loc["full"]
    assert full.tolist() == ["0.500 ± 0.000", "0.500 / 0.500", "0.500 / 0.500"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"center_weight": 1.0}, "center_weight cannot be set: it is what variant 'no_center' is about"),
        ({"widht": 1.0}, "unknown config field 'widht'; did you mean 'width'"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_suite(write_suite(tmp_path / "s.yaml")).with_settings(settings)


def test_only_selects_variants_by_name_and_pattern() -> None:
    assert load_suite("orl").select(["no_c*", "fc"]) == ["no_center", "fc"]


def test_only_refuses_an_unknown_variant() -> None:
    with pytest.raises(ValueError, match="unknown variant 'no_centre'; did you mean 'no_center'"):
        load_suite("orl").select(["no_centre"])


@pytest.mark.parametrize("value", [1e-5, 0.5, None, True, "fc", [1, 2], "a b: c"])
def test_values_survive_the_command_line(value: object) -> None:
    assert parse_yaml(suites.as_yaml(value)) == value


# Identity


def test_equal_resolved_configs_have_one_identity(small: str) -> None:
    written_out = Config(center_weight=1e-4, epochs=60, device=Config().resolved().device)
    first, second = identify([Config(), written_out])
    assert first.whole == second.whole


@pytest.mark.parametrize(
    "change", [{"bits": 12}, {"seed": 1}, {"center_weight": 0}, {"epochs": 1}, {"dtype": "bfloat16"}]
)
def test_a_config_field_changes_the_identity(small: str, change: dict) -> None:
    first, second = identify([Config(dtype="float32"), Config(**{"dtype": "float32", **change})])
    assert first.whole != second.whole


def test_faces_change_the_identity(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify([Config()])
    monkeypatch.setattr(identity, "faces_hash", lambda config: "other faces")
    assert identify([Config()])[0].whole != before[0].whole


def test_the_place_of_the_faces_does_not_change_the_identity(small: str) -> None:
    here, there = identify([Config(dataset="folder", root="here"), Config(dataset="folder", root="there")])
    assert here.whole == there.whole


def test_every_part_of_a_split_changes_the_hash_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Part:
        name: str

        def fingerprint(self) -> str:
            return self.name

    @dataclasses.dataclass
    class Split:
        training: Part
        gallery: Part
        queries: Part
        new_gallery: Part | None
        new_queries: Part | None

    parts = [Part("a"), Part("b"), Part("c"), None, Part("d")]
    hashes = set()
    for place in (None, 0, 1, 2, 3, 4):
        changed = [Part("x") if i == place else part for i, part in enumerate(parts)]
        monkeypatch.setattr(identity, "load_split", lambda config, changed=changed: Split(*changed))
        hashes.add(identity.faces_hash(Config()))
    assert len(hashes) == 6


def test_each_distinct_split_is_loaded_once(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(identity, "faces_hash", lambda config: loaded.append(config.split_seed) or "faces")
    identify([Config(bits=bits, split_seed=split) for bits in (12, 48) for split in (None, 0, 1)])
    assert loaded == [0, 1]


@pytest.mark.parametrize(("name", "matters"), [("losses.py", True), ("figures.py", False), ("new.py", True)])
def test_sources_of_the_core_change_the_identity(small: str, name: str, matters: bool) -> None:
    before = identify([Config()])[0]
    (identity.CORE / name).write_text("a = 2")
    assert (identify([Config()])[0].whole != before.whole) == matters


@pytest.mark.parametrize(("kind", "matters"), [("code", True), ("markdown", False)])
def test_only_the_code_of_the_notebook_changes_the_identity(small: str, kind: str, matters: bool) -> None:
    path = identity.notebook(identity.TRAINING_NOTEBOOK)
    before = identify([Config()])[0]
    content = nbformat.read(path, as_version=4)
    content.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")("one more"))
    nbformat.write(content, path)
    assert (identify([Config()])[0].whole != before.whole) == matters


def test_the_identity_of_the_real_faces_is_stable() -> None:
    assert identity.faces_hash(Config()) == identity.faces_hash(Config(bits=12, queries_per_identity=3))


# Runner


def run_small(path: str, out: Path, **settings: object) -> int:
    return run(load_suite(path).with_settings(settings), out, jobs=2)


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


def test_a_cell_whose_code_changed_while_it_ran_is_a_failure(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    honest = attempt.execute

    def execute(*arguments) -> None:
        honest(*arguments)
        (identity.CORE / "losses.py").write_text("a = 2")

    monkeypatch.setattr(attempt, "execute", execute)
    assert run(load_suite(small).with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1) == 2
    assert len(fast) == 1
    assert "FAILED, the code was changed while the suite ran; start it again" in capsys.readouterr().err


def test_a_notebook_that_leaves_no_result_is_a_failure(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    """Even if an earlier start had left one."""
    name = plan(load_suite(small), tmp_path)[0].identity.name
    stale = tmp_path / ".work" / f"{name}.earlier"
    stale.mkdir(parents=True)
    (stale / "result.json").write_text("{}")
    (stale / "checkpoint.pt").write_text("a state")
    monkeypatch.setattr(attempt, "execute", lambda *arguments: None)
    run_small(small, tmp_path, bits=12, seed=0)
    assert "result.json" in (tmp_path / "failed" / name / "error.txt").read_text()


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


def test_a_checkpoint_outlives_a_failed_try_and_goes_to_the_next(
    small: str, fast: list, tmp_path: Path, monkeypatch
) -> None:
    honest, found = attempt.execute, []

    def execute(source, output, parameters, *rest) -> None:
        checkpoint = Path(parameters["run_dir"]) / "checkpoint.pt"
        found.append(checkpoint.read_text() if checkpoint.exists() else None)
        if len(found) == 1:
            checkpoint.write_text("half way")
            raise NotebookError("out of luck")
        checkpoint.unlink()
        honest(source, output, parameters, *rest)

    monkeypatch.setattr(attempt, "execute", execute)
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    assert run(suite, tmp_path, jobs=1, only=["full"]) == 1
    assert run(suite, tmp_path, jobs=1, only=["full"]) == 0
    assert found == [None, "half way"]


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


def test_a_damaged_checkpoint_costs_one_try(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    honest, found = attempt.execute, []

    def execute(source, output, parameters, *rest) -> None:
        checkpoint = Path(parameters["run_dir"]) / "checkpoint.pt"
        found.append(checkpoint.exists())
        if checkpoint.exists():
            training = Training(Config(width=0.05, device="cpu").resolved(), synthetic_faces(2, 4))
            try:
                training.load(checkpoint)
            except ValueError as error:
                raise NotebookError(f"ValueError: {error}") from None
        honest(source, output, parameters, *rest)

    monkeypatch.setattr(attempt, "execute", execute)
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    damaged = tmp_path / ".work" / f"{plan(suite, tmp_path)[0].identity.name}.earlier"
    damaged.mkdir(parents=True)
    (damaged / "checkpoint.pt").write_bytes(b"half a sta")
    assert run(suite, tmp_path, jobs=1, only=["full"], retries=1) == 0
    assert found == [True, False]


def test_an_orphan_cannot_write_where_its_successor_works(tmp_path: Path) -> None:
    before = attempt.take_over(tmp_path, "cell")
    (before / "checkpoint.pt").write_text("half way")
    other = attempt.take_over(tmp_path, "cell-2")
    after = attempt.take_over(tmp_path, "cell")
    assert (after / "checkpoint.pt").read_text() == "half way"
    with pytest.raises(FileNotFoundError):
        (before / "checkpoint.pt.partial").write_text("from an orphan")
    assert set(tmp_path.iterdir()) == {after, other}


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


def test_several_gpus_get_one_cell_each(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    honest, used, most = attempt.execute, [], []

    def execute(source, output, parameters, threads, timeout, cancelled, environment) -> None:
        used.append(environment["CUDA_VISIBLE_DEVICES"])
        most.append(len(set(used)) == len(used))
        time.sleep(0.2)
        honest(source, output, parameters)
        used.remove(environment["CUDA_VISIBLE_DEVICES"])

    monkeypatch.setattr(attempt, "execute", execute)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert run(load_suite(small), tmp_path) == 0
    assert most == [True] * 12


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


def test_a_cluster_makes_the_same_cells(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1, 7]})
    failed = run(suite, tmp_path / "here", jobs=1)
    local = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**local, local_directory=str(tmp_path / "scratch")) as cluster:
        assert run(suite, tmp_path / "there", scheduler=cluster.scheduler_address) == failed == 2
    columns = ["variant", "seed", "bits", "map", "device", "dtype", "code", "identity"]
    here, there = (collect(suite, tmp_path / place)[columns] for place in ("here", "there"))
    pd.testing.assert_frame_equal(here, there)
    assert {p["run_dir"].startswith(str(tmp_path / "scratch")) for p in fast[6:]} == {True}
    errors = [path.read_text() for path in (tmp_path / "there" / "failed").glob("*/error.txt")]
    assert [error.splitlines()[-1] for error in errors] == ["ZeroDivisionError: seed seven is unlucky"] * 2


@pytest.mark.parametrize(
    ("answers", "agreed"), [({"a": 1, "b": 1}, True), ({"a": 1, "b": 2}, False)], ids=["alike", "different"]
)
def test_workers_must_be_alike(answers: dict, agreed: bool) -> None:
    if agreed:
        assert workers.agreed(answers, "code") == 1
    else:
        with pytest.raises(ValueError, match="the workers differ in their code: a has 1, b has 2"):
            workers.agreed(answers, "code")


def test_a_scheduler_that_is_not_there_is_named(small: str, tmp_path: Path, capsys, monkeypatch) -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert main(["run", small, "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no dask scheduler at 'tcp://127.0.0.1:9': ")


def test_tasks_can_be_sent_to_another_process(small: str, tmp_path: Path) -> None:
    first = plan(load_suite(small), tmp_path)[0]
    task = Task(first.identity, first.config.to_dict(), work=None, threads=1, timeout=None)
    assert pickle.loads(pickle.dumps((attempt_on_cluster, task))) == (attempt_on_cluster, task)


def test_papermill_runs_cells_and_keeps_what_failed(small: str, tmp_path: Path) -> None:
    """The real thing: one cell that succeeds, one that raises, one whose kernel dies."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 7, 9]})
    assert run(suite, tmp_path, jobs=2, only=["full"]) == 2
    complete, raised, died = plan(suite, tmp_path, ["full"])
    assert (complete.complete, raised.complete, died.complete) == (True, False, False)
    directory = tmp_path / "cells" / complete.identity.name
    assert read_cell(directory)["result"]["environment"]["threads"] == "1"
    assert nbformat.read(directory / "notebook.ipynb", as_version=4).cells[-1].execution_count
    error = (tmp_path / "failed" / raised.identity.name / "error.txt").read_text()
    assert error.splitlines()[-1] == "ZeroDivisionError: seed seven is unlucky"
    assert "Traceback" in error
    assert "\x1b" not in error
    assert "ZeroDivisionError" in (tmp_path / "failed" / raised.identity.name / "notebook.ipynb").read_text()
    assert "Kernel died" in (tmp_path / "failed" / died.identity.name / "error.txt").read_text()


def test_an_interrupt_ends_all_children_and_says_how_to_go_on(small: str, tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from ablations import identity; from ablations.__main__ import main\n"
        f"identity.NOTEBOOKS = pathlib.Path({str(identity.NOTEBOOKS)!r})\n"
        f"identity.CORE = pathlib.Path({str(identity.CORE)!r})\n"
        "identity.faces_hash = lambda config: 'faces'\n"
        f"sys.exit(main(['run', {small!r}, '--set', 'seed=8', '--out', {str(tmp_path / 'runs')!r}, '--jobs', '2']))"
    )
    # A job in the background inherits an ignored SIGINT; the process under test is to hear it wherever the tests run.
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + script
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "runs" / ".work"
    pids = wait_for(lambda: list(partial.glob("*/pid")) if len(list(partial.glob("*/pid"))) == 2 else [])
    time.sleep(0.2)  # until written
    pids = [int(path.read_text()) for path in pids]
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130
    command = f"python -m ablations run {small} --set seed=8 --out {tmp_path / 'runs'} --jobs 2"
    assert messages.splitlines()[-1] == f"interrupted; go on with: {command}"
    assert not (tmp_path / "runs" / "failed").exists()
    assert wait_for(lambda: not any(alive(pid) for pid in pids))


def wait_for(condition, seconds: float = 60):
    """The first true value of ``condition()``, or its last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Report


def made_up(suite: suites.Suite, seeds: list[int]) -> pd.DataFrame:
    """A frame with figures that differ by variant, bits and seed in no simple way."""
    rows = []
    for number, cell in enumerate(suite.with_settings({"seed": seeds}).cells()):
        score = 0.5 + 0.3 * math.sin(number * number)
        floors = {"chance": 0.05, "pixels": 0.31, "descriptor": score + 0.01 * math.cos(number)}
        machine = {"machine": "2-core x86-64 CPU", "dtype": "float32", "torch": "2.13"}
        rows.append({"variant": cell.variant, **cell.point, "map": score, **floors, "seconds": 1.23456789, **machine})
    return pd.DataFrame(rows)


def values_of(frame: pd.DataFrame, variant: str, bits: int, column: str = "map") -> list[float]:
    return [row[column] for _, row in frame.iterrows() if row["variant"] == variant and row["bits"] == bits]


def row_of(statistics: pd.DataFrame, variant: str, bits: int) -> pd.Series:
    return next(row for _, row in statistics.iterrows() if row["variant"] == variant and row["bits"] == bits)


def test_summary_gives_mean_and_t_interval(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    row, values = row_of(summary(frame, suite), "no_center", 48), values_of(frame, "no_center", 48)
    low, high = scipy.stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=scipy.stats.sem(values))
    assert row["n"] == 3
    assert (row["mean"] - row["half_width"], row["mean"] + row["half_width"]) == pytest.approx((low, high))


def test_summary_gives_paired_differences(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    row = row_of(summary(frame.sample(frac=1, random_state=0), suite), "no_center", 12)
    pairs = scipy.stats.ttest_rel(values_of(frame, "no_center", 12), values_of(frame, "full", 12))
    low, high = pairs.confidence_interval(0.95)
    half_width = row["difference_half_width"]
    assert (row["difference"] - half_width, row["difference"] + half_width) == pytest.approx((low, high))


def test_differences_are_over_the_seeds_that_both_have(small: str) -> None:
    suite = load_suite(small).with_settings({"seed": [0, 1, 2, 3]})
    frame = made_up(suite, [0, 1, 2, 3])
    frame = frame[~((frame["variant"] == "full") & (frame["seed"] == 1))]
    full, other = values_of(frame, "full", 12), values_of(frame, "no_center", 12)
    del other[1]
    differences = row_of(summary(frame, suite), "no_center", 12)["differences"]
    assert differences == pytest.approx([b - a for a, b in zip(full, other, strict=True)])


def test_floor_and_ceiling_come_from_the_reference(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    statistics = summary(frame, suite)
    assert list(statistics["variant"].unique()) == [
        "chance",
        "raw pixels",
        "full",
        "no_center",
        "descriptor, not binarised",
    ]
    assert row_of(statistics, "raw pixels", 12)["mean"] == pytest.approx(0.31)
    ceiling = row_of(statistics, "descriptor, not binarised", 12)
    assert ceiling["mean"] == pytest.approx(sum(values_of(frame, "full", 12, "descriptor")) / 3)


def test_fewer_than_three_seeds_show_points_and_no_interval(small: str) -> None:
    suite = load_suite(small).with_settings({"seed": [0, 1]})
    frame = made_up(suite, [0, 1])
    statistics = summary(frame, suite)
    assert statistics[["half_width", "difference_half_width"]].isna().all(axis=None)
    text = table(statistics, suite).set_index("variant").loc["no_center", "12 bits"]
    assert text == " / ".join(f"{value:.3f}" for value in values_of(frame, "no_center", 12))


def test_a_metric_that_is_not_there_is_named(small: str) -> None:
    suite = load_suite(small)
    with pytest.raises(ValueError, match="unknown metric 'mpa'; did you mean 'map'"):
        summary(made_up(suite, [0]), suite, "mpa")


@pytest.fixture
def fixed() -> tuple[suites.Suite, pd.DataFrame]:
    """One code length, MAP 0.5, 0.6, 0.7 of `full`, and 0.1 less for `no_center`."""
    suite = load_suite("orl_quick").with_settings({"bits": 12})
    suite = dataclasses.replace(suite, variants={name: suite.variants[name] for name in ("full", "no_center")})
    rows = [
        {"variant": variant, "bits": 12, "seed": s, "map": m + s / 10, "chance": 0.05, "pixels": 0.3, "descriptor": 0.8}
        for variant, m in (("full", 0.5), ("no_center", 0.4))
        for s in (0, 1, 2)
    ]
    return suite, pd.DataFrame(rows)


def test_table_as_markdown(fixed) -> None:
    suite, frame = fixed
    assert markdown(table(summary(frame, suite), suite)).splitlines() == [
        "| variant | 12 bits |",
        "| --- | ---: |",
        "| chance | 0.050 |",
        "| raw pixels | 0.300 |",
        "| full | 0.600 ± 0.248 |",
        "| no_center | 0.500 ± 0.248 |",
        "| descriptor, not binarised | 0.800 ± 0.000 |",
        "| no_center − full | −0.100 ± 0.000 |",
        "| descriptor, not binarised − full | +0.200 ± 0.248 |",
    ]


def test_table_as_latex(fixed) -> None:
    suite, frame = fixed
    text = report.latex(table(summary(frame, suite), suite))
    assert r"no\_center & 0.500 $\pm$ 0.248 \\" in text
    assert r"no\_center $-$ full & $-$0.100 $\pm$ 0.000 \\" in text
    assert r"\toprule" in text
    assert text.isascii()


def test_a_table_with_missing_seeds_says_so(fixed) -> None:
    suite, frame = fixed
    text = table(summary(frame.iloc[:-1], suite), suite).set_index("variant")["12 bits"]
    assert text["no_center"] == "0.400 / 0.500 (2 of 3 seeds)"


def seen_and_new_figures() -> tuple[suites.Suite, pd.DataFrame]:
    """Two methods at two lengths, one of them with shallow methods; new people are 0.5 harder."""
    suite = load_suite("peers_orl").with_settings({"seed": [0, 1, 2], "bits": [12, 48]})
    suite = dataclasses.replace(
        suite, variants={name: suite.variants[name] for name in ("dcbh", "softmax")}, tuning=None
    )
    rows = []
    for cell in suite.cells():
        score = 0.6 + cell.point["bits"] / 1000 + 0.1 * (cell.variant == "softmax") + cell.point["seed"] / 100
        figures = {"map": score, "chance": 0.1, "pixels": 0.2, "descriptor": 0.9}
        if cell.variant == "softmax":
            figures |= {"lsh_pixels": 0.3, "itq_pixels": 0.4, "lsh_descriptor": 0.5, "itq_descriptor": score - 0.05}
        new = {f"new_{name}": value / 2 for name, value in figures.items()}
        rows.append({"variant": cell.variant, **cell.point, **figures, **new})
    return suite, pd.DataFrame(rows)


def test_shallow_methods_are_rows_from_the_softmax_variants_runs() -> None:
    suite, frame = seen_and_new_figures()
    statistics = summary(frame, suite, "new_map")
    assert statistics[statistics["bits"] == 12]["variant"].tolist() == [
        *("chance", "raw pixels", "LSH on pixels", "ITQ on pixels"),
        *("LSH on softmax descriptors", "ITQ on softmax descriptors", "dcbh", "softmax", "descriptor, not binarised"),
    ]
    row = row_of(statistics, "ITQ on softmax descriptors", 48)
    softmax = values_of(frame, "softmax", 48, "new_map")
    dcbh = values_of(frame, "dcbh", 48, "new_map")
    assert row["values"] == pytest.approx([value - 0.025 for value in softmax])
    assert row["differences"] == pytest.approx([value - 0.025 - d for value, d in zip(softmax, dcbh, strict=True)])


def test_seen_and_new_stand_side_by_side() -> None:
    suite, frame = seen_and_new_figures()
    tables = {metric: table(summary(frame, suite, metric), suite) for metric in ("map", "new_map")}
    text = report.side_by_side(tables)
    assert list(text.columns) == ["variant", "12 bits, seen", "12 bits, new", "48 bits, seen", "48 bits, new"]
    for metric, name in (("map", "seen"), ("new_map", "new")):
        for bits in ("12 bits", "48 bits"):
            assert text[f"{bits}, {name}"].tolist() == tables[metric][bits].tolist()
    assert report.side_by_side({"map": tables["map"]}) is tables["map"]


def test_the_figure_of_seen_against_new_shows_every_method_but_the_floors() -> None:
    suite, frame = seen_and_new_figures()
    rows = report.seen_and_new(frame, suite)
    assert set(rows["variant"]) == {"dcbh", "softmax", *report.SHALLOW, "descriptor, not binarised"}
    assert rows["point"].unique().tolist() == ["12 bits", "48 bits"]
    row = next(r for _, r in rows.iterrows() if r["variant"] == "dcbh" and r["point"] == "48 bits")
    of_dcbh = row_of(summary(frame, suite, "new_map"), "dcbh", 48)
    assert (row["new"], row["new_half_width"]) == (of_dcbh["mean"], of_dcbh["half_width"])
    assert row["seen"] == pytest.approx(2 * row["new"])
    panels = figures.seen_against_new(rows).axes
    assert [ax.get_title() for ax in panels] == ["12 bits", "48 bits"]
    assert all(len(ax.containers) == 7 for ax in panels)


def test_collect_gives_one_row_per_complete_cell(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=[0, 1])
    frame = collect(load_suite(small), tmp_path)
    assert frame[["variant", "bits", "seed", "map", "device", "seconds"]].to_numpy().tolist() == [
        ["full", 12, 0, pytest.approx(0.53), "cpu", 1.5],
        ["no_center", 12, 0, pytest.approx(0.43), "cpu", 1.5],
        ["full", 12, 1, pytest.approx(0.57), "cpu", 1.5],
        ["no_center", 12, 1, pytest.approx(0.47), "cpu", 1.5],
    ]


def test_missing_cells_are_named(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12)
    suite = load_suite(small).with_settings({"seed": 0})
    assert notes(suite, collect(suite, tmp_path)) == [
        "Missing cells (2 of 4): full 48 bits seed 0, no_center 48 bits seed 0."
    ]


def edit(path: Path, key: str, value: object) -> None:
    """Change a result.json, and its digest in cell.json, as if the run had left it so."""
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    about = path.with_name("cell.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about.write_text(json.dumps({**json.loads(about.read_text()), "result_sha256": digest}))


def test_cells_of_different_dtype_are_not_mixed(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    path = tmp_path / "cells" / plan(load_suite(small), tmp_path)[1].identity.name / "result.json"
    edit(path, "environment", {"device": "cpu", "dtype": "bfloat16", "machine": "a CPU", "torch": "2.13"})
    message = r"different dtype .*full 12 bits seed 0 \(float32\) and no_center 12 bits seed 0 \(bfloat16\)"
    with pytest.raises(ValueError, match=message):
        collect(load_suite(small), tmp_path)


def test_a_suite_about_dtypes_may_mix_them(small: str, fast: list, tmp_path: Path) -> None:
    path = write_suite(Path(small), variants={"full": {}, "half": {"dtype": "bfloat16"}})
    run_small(path, tmp_path)
    assert collect(load_suite(path), tmp_path)["dtype"].nunique() == 2


def test_machines_of_different_kinds_are_noted(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    path = tmp_path / "cells" / plan(load_suite(small), tmp_path)[1].identity.name / "result.json"
    edit(path, "environment", {"device": "cpu", "dtype": "float32", "machine": "another CPU", "torch": "2.13"})
    suite = load_suite(small)
    assert notes(suite, collect(suite, tmp_path)) == [
        "These cells were run on machines of different kinds: a CPU; another CPU."
    ]


def change_code() -> None:
    path = identity.notebook(identity.TRAINING_NOTEBOOK)
    write_notebook(path, "run_dir = None", "changed = True", STUB)


def test_cells_of_different_code_are_not_mixed(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small)
    run(suite, tmp_path, jobs=1, only=["full"])
    change_code()
    run(suite, tmp_path, jobs=1, only=["no_center"])
    with pytest.raises(ValueError, match=r"different code .*full 12 bits seed 0 .* and no_center 12 bits seed 0"):
        collect(suite, tmp_path)


def test_cells_of_older_code_are_shown_with_a_note(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    change_code()
    frame = collect(load_suite(small), tmp_path)
    assert len(frame) == 12
    assert notes(load_suite(small), frame) == ["The code has changed since these cells were run."]


def test_cells_of_the_present_code_are_preferred(small: str, fast: list, tmp_path: Path) -> None:
    old = identity.notebook(identity.TRAINING_NOTEBOOK).read_text()
    run_small(small, tmp_path)
    change_code()
    run_small(small, tmp_path)
    identity.notebook(identity.TRAINING_NOTEBOOK).write_text(old)
    assert notes(load_suite(small), collect(load_suite(small), tmp_path)) == []


def test_two_reports_at_a_time_do_not_mix(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    run_small(small, tmp_path)
    nbformat.write(nbformat.v4.new_notebook(), identity.NOTEBOOKS / identity.REPORT_NOTEBOOK)
    both = threading.Barrier(2)

    def execute(source, output, parameters) -> None:
        cell = nbformat.v4.new_markdown_cell(f"bits {parameters['settings']['bits']}")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), output)
        both.wait(30)

    monkeypatch.setattr(report, "execute", execute)
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda bits: report.build_report(small, tmp_path, {"bits": bits}), (12, 48)))
    directory = tmp_path / "reports" / "small"
    bits = {int(value) for value in pd.read_csv(directory / "cells.csv")["bits"]}
    assert len(bits) == 1
    assert f"bits {bits.pop()}" in (directory / "report.html").read_text()
    assert sorted(path.name for path in directory.parent.iterdir()) == [".small.lock", "small"]


def test_recorded_figures_come_back(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    path = record(suite, frame, "python -m ablations run small")
    assert path.read_text().splitlines()[:4] == [
        "# title: A small suite",
        "# command: python -m ablations run small",
        "# seeds: 0, 1, 2",
        "# machine: 2-core x86-64 CPU, float32, torch 2.13",
    ]
    back = recorded("small")
    columns = ["variant", "seed", "bits", "map", "chance", "pixels", "descriptor", "seconds"]
    pd.testing.assert_frame_equal(back[columns], frame[columns].round(6))
    assert list(back.columns) == [*columns, "machine"]
    assert set(back["machine"]) == {"2-core x86-64 CPU, float32, torch 2.13"}
    numbers = ["mean", "half_width", "difference", "difference_half_width"]
    pd.testing.assert_frame_equal(summary(back, suite)[numbers], summary(frame, suite)[numbers], atol=1e-5)


def test_an_incomplete_suite_is_not_recorded(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    with pytest.raises(ValueError, match="missing cells: no_center 48 bits seed 2"):
        record(suite, made_up(suite, [0, 1, 2]).iloc[:-1], "command")
    assert not (tmp_path / "small.csv").exists()


def test_parts_of_a_suite_come_back_together(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    whole = made_up(suite, [0, 1, 2])
    whole["machine"] = whole["bits"].map({12: "a GPU", 48: "a CPU"})
    for bits, part in ((12, ""), (48, "long")):
        record(suite.with_settings({"bits": [bits]}), whole[whole["bits"] == bits], "command", part)
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["small.csv", "small.long.csv"]
    (tmp_path / "small_tuning.csv").write_text("variant,map\nfull,0.5\n")  # no part of it
    back = recorded("small")
    pd.testing.assert_frame_equal(summary(back, suite), summary(whole.round(6), suite))
    assert {bits: set(rows["machine"]) for bits, rows in back.groupby("bits")} == {
        12: {"a GPU, float32, torch 2.13"},
        48: {"a CPU, float32, torch 2.13"},
    }
    assert "These cells were run on machines of different kinds: a CPU, float32, torch 2.13; a GPU" in " ".join(
        notes(suite, back)
    )


def test_no_cell_is_recorded_in_two_parts(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    record(suite, frame, "command")
    record(suite, frame, "command")  # the same part again takes its place
    with pytest.raises(ValueError, match=r"two recorded parts of suite 'small' hold one cell \(variant full, "):
        record(suite, frame, "command", "again")
    assert [path.name for path in tmp_path.glob("*.csv")] == ["small.csv"]


def test_nothing_recorded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="unknown recorded suite 'orl'"):
        recorded("orl")


def test_committed_results_fit_their_suites() -> None:
    for path in records.RESULTS.glob("*.csv"):
        name = path.stem.split(".")[0]
        frame = recorded(name)
        suite = load_suite(re.sub("_(tuning|validation)$", "", name))
        assert set(frame["variant"]) <= set(suite.variants)
        assert frame["map"].between(0, 1).all()


def test_report_command(small: str, fast: list, tmp_path: Path, monkeypatch, capsys) -> None:
    """The whole command, with a stub report notebook executed by the real papermill."""
    shown = (
        "import json\nfrom IPython.display import HTML, Image, display\ndisplay(Image(b'a picture', format='png'))\n"
        "HTML(f'<b>{suite[-10:]} {json.dumps(settings)}</b>')"
    )
    write_notebook(identity.NOTEBOOKS / identity.REPORT_NOTEBOOK, "suite = out = settings = None", shown)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    out = tmp_path / "runs"
    run_small(small, out, bits=12)
    assert main(["report", small, "--set", "bits=12", "--out", str(out), "--record"]) == 0
    assert (tmp_path / "small.png").read_bytes() == b"a picture"
    directory = out / "reports" / "small"
    expected = ["cells.csv", "report.html", "report.ipynb", "summary.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in directory.iterdir()) == expected
    printed = capsys.readouterr().out
    assert (directory / "table.md").read_text() in printed
    assert f"report: {directory / 'report.html'}" in printed
    page = (directory / "report.html").read_text()
    assert '<b>small.yaml {"bits": 12}</b>' in page
    assert "IPython.display" not in page
    assert "<title>A small suite</title>" in page
    assert 'src="http' not in page
    assert "cdnjs" not in page
    assert "# command: python -m ablations run small --set bits=12\n" in (tmp_path / "small.csv").read_text()
    assert main(["report", small, "--set", "bits=12", "--out", str(out), "--record", "short"]) != 0
    assert "delete one of their files" in capsys.readouterr().err
    (tmp_path / "small.csv").unlink()
    assert main(["report", small, "--set", "bits=12", "--out", str(out), "--record", "short"]) == 0
    assert (tmp_path / "small.short.csv").exists()
    assert (tmp_path / "small.short.png").read_bytes() == b"a picture"


# Command line


def test_list(capsys) -> None:
    assert main(["list"]) == 0
    assert "orl_quick (18 cells): DCBH on ORL, quick\n    Do the centre loss" in capsys.readouterr().out


def test_dry_run_tells_what_is_to_do_and_runs_nothing(small: str, fast: list, tmp_path: Path, capsys) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    fast.clear()
    arguments = ["run", small, "--dry-run", "--out", str(tmp_path), "--only", "full", "--set", "seed=0"]
    assert main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("full 12 bits seed 0: complete")
    assert second.startswith("full 48 bits seed 0: to do")
    assert fast == []


def test_run_command_says_how_to_report(small: str, fast: list, tmp_path: Path, capsys) -> None:
    arguments = [small, "--set", "bits=[12]", "--set", "seed=0", "--out", str(tmp_path)]
    assert main(["run", *arguments, "--only", "full"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"report: python -m ablations report {small} --set 'bits=[12]' --set seed=0 --out {tmp_path}"


def test_run_command_with_a_failed_cell_exits_with_1(small: str, fast: list, tmp_path: Path) -> None:
    assert main(["run", small, "--set", "seed=7", "--out", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "orl_quik"], "unknown suite 'orl_quik'; did you mean 'orl_quick'"),
        (["run", "orl_quick", "--only", "fulll"], "unknown variant 'fulll'; did you mean 'full'"),
        (["run", "orl_quick", "--work", "shared"], "--work is for a cluster; give --scheduler too"),
        (["run", "orl_quick", "--scheduler", "tcp://a:1", "--jobs", "2"], "--jobs is for this machine"),
        (["run", "orl_quick", "--set", "bits"], "--set takes FIELD=VALUE, not 'bits'"),
        (["run", "orl_quick", "--set", "bits=[1"], "this is no YAML"),
        (["run", "orl_quick", "--set", "learning_rate=1e-4"], "an exponent needs a point and a sign"),
        (
            ["report", "orl_quick", "--out", "nowhere"],
            "no cell of suite 'orl_quick' is complete in nowhere; run it first",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(small: str, capsys, arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--timeout", "0"), ("--timeout", "an hour"), ("--retries", "-1")])
def test_limits_must_be_numbers(option: str, value: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "orl_quick", f"{option}={value}"])
    assert "must be a" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "two"])
def test_jobs_must_be_positive(jobs: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "orl_quick", "--jobs", jobs])
    assert "must be a whole number from 1" in capsys.readouterr().err


def test_missing_cells_of_an_empty_frame_are_all(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    assert len(missing_cells(suite, collect(suite, tmp_path))) == 12
