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
from ablations.suite import load_suite
from ablations.tables import tables
from ablations.writing import markdown
from benchmarks.__main__ import HEADER, line
from benchmarks.measuring import Measurement
from dcbh_core import train
from docs import make_tables
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
PAGES = [
    "README.md",
    "ablations/README.md",
    RESULTS_PAGE,
    "benchmarks/README.md",
    "docs/comparing.md",
    "docs/peers.md",
    "docs/glossary.md",
    "docs/reference.md",
    "notebooks/TEACHING.md",
    "notebooks/teaching/lessons.md",
]


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """What a page shows as code of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.S)


@pytest.mark.parametrize("page", make_tables.PAGES)
def test_a_page_shows_the_recorded_tables(page):
    text = text_of(page)
    assert make_tables.filled(text) == text, "run: python -m docs.make_tables"
    outside = re.sub(r"<!-- table: .*?<!-- end -->", "", text, flags=re.S)
    assert "| variant |" not in outside  # no table is written by hand


def test_a_table_is_made_anew_and_the_rest_left():
    page = "before\n<!-- table: lfw {rows: [chance]} -->\nold\n<!-- end -->\nafter <!-- end -->\n"
    rows = tables(recorded("lfw"), load_suite("lfw")).set_index("variant").loc[["chance"]].reset_index()
    shown = f"before\n<!-- table: lfw {{rows: [chance]}} -->\n\n{markdown(rows)}\n\n<!-- end -->\nafter <!-- end -->\n"
    assert make_tables.filled(page) == shown


def test_a_table_of_one_split_has_its_runs_alone() -> None:
    """Points of a table leave splits and seeds out, and so does the choice among points."""
    runs = recorded("methods_lfw")
    mean = runs[(runs["variant"] == "dcbh") & (runs["split_seed"] == 2)]["map"].mean()
    text = make_tables.table("methods_lfw", "{where: {split_seed: [2]}, rows: [dcbh], questions: [seen]}")
    assert f"| dcbh | {mean:.3f} ± " in text
    assert abs(mean - runs[runs["variant"] == "dcbh"]["map"].mean()) > 0.001


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda p: p.stem)
def test_the_page_on_speed_shows_the_recorded_benchmark(path):
    derived = ("ratio", "share")
    measurements = [
        Measurement(**{name: value for name, value in found.items() if name not in derived})
        for found in json.loads(path.read_text())["measurements"]
    ]
    assert "\n".join([HEADER, *map(line, measurements)]) in text_of("benchmarks/README.md")


def test_the_readme_stays_short():
    assert len(text_of("README.md")) <= 12_000


def test_the_readmes_own_head_trains_in_its_own_suite(tiny, tmp_path):
    [head] = [block for block in blocks("README.md", "python") if "(Head)" in block]
    [suite] = blocks("README.md", "yaml")
    (tmp_path / "my_head.py").write_text(head)
    (tmp_path / "my_suite.yaml").write_text(suite)
    own = [run.config for run in load_suite(str(tmp_path / "my_suite.yaml")).runs() if run.variant == "mean"]
    trained, _ = train(dataclasses.replace(own[0], width=0.05, epochs=1, device="cpu"), tiny)
    assert type(trained.head).__name__ == "MeanHead"
    assert trained.encode(tiny.images).shape == (len(tiny), 12)


def test_the_readmes_python_runs(tmp_path, monkeypatch, capsys):
    [program] = [block for block in blocks("README.md", "python") if "evaluate" in block]
    small = program.replace("width=0.25", "width=0.05, epochs=1")
    assert small != program
    monkeypatch.chdir(tmp_path)
    exec(small, {})
    assert len([float(number) for number in capsys.readouterr().out.split()]) == 4


@pytest.mark.parametrize("suite", blocks("ablations/README.md", "yaml"))
def test_a_suite_on_the_page_on_ablations_has_as_many_runs_as_it_says(suite, tmp_path):
    (tmp_path / "my_suite.yaml").write_text(suite)
    assert f"its {len(load_suite(str(tmp_path / 'my_suite.yaml')).runs())} runs" in text_of("ablations/README.md")


def anchors(page: Path) -> set[str]:
    """What a link may name on a page behind its #."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text_of(page)) if "://" not in link]
    missing = []
    for link in links:
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert links
    assert missing == []
