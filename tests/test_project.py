"""The project's own files agree with each other, and the core stays what it promises to be."""

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from ablations.records import recorded
from ablations.report import markdown, side_by_side, summary, table
from ablations.suite import load_suite
from benchmarks.__main__ import HEADER, line
from benchmarks.measuring import Measurement
from dcbh_core import Config, model, train
from dcbh_core.config import CHOICES
from tests.core_size import lines_of_code

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def requirements() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {*project["dependencies"], *project["optional-dependencies"]["dev"]}


def test_conda_and_pip_list_the_same_packages():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    [from_pip] = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    conda = {entry for entry in listed if isinstance(entry, str)} - {"pip", "python>=3.11"}
    expected = set()
    for requirement in requirements():
        name, version = re.fullmatch(r"([A-Za-z0-9-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
        expected.add(CONDA_NAMES.get(name, name.lower()) + version)
    assert conda | set(from_pip) - {"--editable ."} == expected


def test_every_direct_dependency_is_pinned_in_the_constraints():
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    names = {re.match(r"[A-Za-z0-9-]+", requirement)[0].lower() for requirement in requirements()}  # type: ignore[index]
    assert names - pinned == set()


def test_the_core_imports_torch_and_numpy_alone():
    blocked = [
        "pandas",
        "PIL",
        "scipy",
        "sklearn",
        "seaborn",
        "matplotlib",
        "safetensors",
        "faiss",
        "bokeh",
        "tqdm",
        "yaml",
        "IPython",
        "papermill",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import dcbh_core"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""Doc."""\n\n# comment\nx = 1  # why\n', 1),
        ('def f():\n    """Doc\n    more."""\n    return (\n        1\n    )\n', 4),
    ],
)
def test_lines_of_code_leave_out_blanks_comments_and_docstrings(source, count):
    assert lines_of_code(source) == count


RESULTS_PAGE = "ablations/results/README.md"


@pytest.mark.parametrize(
    ("page", "name", "settings", "metrics"),
    [
        ("README.md", "orl_quick", {}, ["map"]),
        ("README.md", "lfw", {}, ["map"]),
        ("README.md", "peers_lfw", {"bits": [12, 48]}, ["map", "new_map"]),
        (RESULTS_PAGE, "peers_lfw", {}, ["map", "new_map"]),
        (RESULTS_PAGE, "peers_lfw_split1", {}, ["map", "new_map"]),
        (RESULTS_PAGE, "peers_orl", {}, ["map", "new_map"]),
        (RESULTS_PAGE, "ingredients_orl", {}, ["map", "new_map"]),
        (RESULTS_PAGE, "ingredients_lfw", {"seed": [0, 1, 2]}, ["map", "new_map"]),
    ],
)
def test_a_page_shows_the_recorded_table(page, name, settings, metrics):
    suite = load_suite(name).with_settings(settings)
    tables = {metric: table(summary(recorded(name), suite, metric), suite) for metric in metrics}
    assert markdown(side_by_side(tables)) in (ROOT / page).read_text("utf-8")


@pytest.mark.parametrize("name", ["peers_lfw", "peers_lfw_split1", "peers_orl"])
def test_the_page_of_results_shows_how_far_each_peer_is_from_dcbh_soft(name):
    suite = dataclasses.replace(load_suite(name), reference="dcbh_soft")
    tables = {metric: table(summary(recorded(name), suite, metric), suite) for metric in ("map", "new_map")}
    rows = side_by_side(tables)
    peers = [f"{peer} − dcbh_soft" for peer in ("softmax", "csq", "orthohash", "dcdh", "dcbh")]
    rows = rows.set_index("variant").loc[peers].reset_index()
    assert markdown(rows) in (ROOT / RESULTS_PAGE).read_text("utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda p: p.stem)
def test_the_readme_shows_the_recorded_benchmark(path):
    derived = ("ratio", "share")
    measurements = [
        Measurement(**{name: value for name, value in found.items() if name not in derived})
        for found in json.loads(path.read_text())["measurements"]
    ]
    assert "\n".join([HEADER, *map(line, measurements)]) in (ROOT / "README.md").read_text("utf-8")


def test_the_readmes_own_head_trains(tiny, monkeypatch):
    [code] = [
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
        if "MeanHead" in block
    ]
    monkeypatch.setitem(CHOICES, "head", (*CHOICES["head"], "mean"))
    monkeypatch.setitem(model.HEADS, "mean", model.BlockHead)  # so that the README's own entry is taken away afterwards
    exec(code, dict(vars(model)))
    trained, _ = train(Config(head="mean", bits=8, width=0.05, epochs=1, device="cpu"), tiny)
    assert type(trained.head).__name__ == "MeanHead"
    assert trained.encode(tiny.images).shape == (len(tiny), 8)


@pytest.mark.parametrize("page", ["README.md", RESULTS_PAGE])
def test_the_links_of_a_page_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text("utf-8"))
    missing = [
        target for target in targets if "://" not in target and not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert targets
    assert not missing
