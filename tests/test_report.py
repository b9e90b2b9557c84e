"""Reports summarise the runs of a suite, from their directories alone, and mix nothing that must not be compared."""

import random
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from ablations import curves, identity, report, tables
from ablations.__main__ import main
from ablations.pages import html_page, markdown_to_html
from ablations.report import build_report, collect, read_runs
from ablations.runner import plan, run_suite
from ablations.suite import Suite, load_suite
from ablations.tables import PER_QUERY, missing_runs, summary, table
from ablations.writing import markdown, notes, plain
from dcbh_core import Config, config
from tests.made_details import leave, made_runs
from tests.stub_suite import REPORT_STUB, edit, run_small, write_own, write_suite

NOTEBOOKS = identity.NOTEBOOKS  # the shipped ones, before a fixture puts stubs in their place

MACHINE = {"device": "cpu", "dtype": "float32", "machine": "a CPU", "torch": "2.13"}


def test_collect_gives_one_row_per_complete_run(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=[0, 1])
    frame = collect(load_suite(small), tmp_path)
    assert frame[["variant", "bits", "seed", "map", "device", "seconds"]].to_numpy().tolist() == [
        ["full", 12, 0, pytest.approx(0.53), "cpu", 1.5],
        ["no_center", 12, 0, pytest.approx(0.43), "cpu", 1.5],
        ["full", 12, 1, pytest.approx(0.57), "cpu", 1.5],
        ["no_center", 12, 1, pytest.approx(0.47), "cpu", 1.5],
    ]


def test_missing_runs_are_named(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12)
    suite = load_suite(small).with_settings({"seed": 0})
    assert notes(suite, collect(suite, tmp_path)) == [
        "Missing runs (2 of 4): full 48 bits seed 0, no_center 48 bits seed 0."
    ]


def test_runs_of_different_dtype_are_not_mixed(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    path = tmp_path / "complete" / plan(load_suite(small), tmp_path)[1].identity.name / "result.json"
    edit(path, "environment", {**MACHINE, "dtype": "bfloat16"})
    message = r"different dtype .*full 12 bits seed 0 \(float32\) and no_center 12 bits seed 0 \(bfloat16\)"
    with pytest.raises(ValueError, match=message):
        collect(load_suite(small), tmp_path)


def test_a_suite_about_dtypes_may_mix_them(small: str, fast: list, tmp_path: Path) -> None:
    path = write_suite(Path(small), variants={"full": {}, "half": {"dtype": "bfloat16"}})
    run_small(path, tmp_path)
    assert collect(load_suite(path), tmp_path)["dtype"].nunique() == 2


def test_machines_of_different_kinds_are_noted(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    path = tmp_path / "complete" / plan(load_suite(small), tmp_path)[1].identity.name / "result.json"
    edit(path, "environment", {**MACHINE, "machine": "another CPU"})
    suite = load_suite(small)
    assert notes(suite, collect(suite, tmp_path)) == [
        "These runs are from machines of different kinds: a CPU; another CPU."
    ]


# Which of the runs there are count.


def change_source(content: str = "a = 2") -> None:
    (identity.CORE / "losses.py").write_text(content)


def test_runs_of_another_source_are_missing(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small)
    run_suite(suite, tmp_path, jobs=1, only=["full"])
    change_source()
    run_suite(suite, tmp_path, jobs=1, only=["no_center"])
    frame = collect(suite, tmp_path)
    assert frame["variant"].unique().tolist() == ["no_center"]
    assert notes(suite, frame)[0].startswith("Missing runs (6 of 12): full 12 bits seed 0, ")


def test_runs_of_another_source_are_shown_with_a_footnote_when_asked_for(
    small: str, fast: list, tmp_path: Path
) -> None:
    suite = load_suite(small)
    run_suite(suite, tmp_path, jobs=1, only=["full"])
    change_source()
    run_suite(suite, tmp_path, jobs=1, only=["no_center"])
    frame = collect(suite, tmp_path, any_source=True)
    assert len(frame) == 12
    assert notes(suite, frame) == [
        "Made by another source than the present one (losses.py changed since): 6 of 12 runs, of full."
    ]


def test_an_edited_file_of_ones_own_leaves_the_other_rows(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(write_own(Path(small)))
    run_suite(suite, tmp_path, jobs=1)
    own = tmp_path / "pull.py"
    own.write_text(own.read_text().replace("self.tau - ", "2 * self.tau - "))
    assert collect(suite, tmp_path)["variant"].unique().tolist() == ["full", "no_center"]
    assert notes(suite, collect(suite, tmp_path, any_source=True)) == [
        "Made by another source than the present one (own/pull.py changed since): 6 of 18 runs, of own."
    ]


@pytest.mark.parametrize("any_source", [False, True])
def test_runs_of_the_present_source_are_preferred(small: str, fast: list, tmp_path: Path, any_source: bool) -> None:
    """To newer ones too."""
    suite = load_suite(small)
    for content in ("a = 1", "a = 2"):
        change_source(content)
        run_small(small, tmp_path)
    change_source("a = 1")
    frame = collect(suite, tmp_path, any_source)
    assert (len(frame), notes(suite, frame)) == (12, [])


def test_of_several_other_sources_the_newest_is_shown(small: str, fast: list, tmp_path: Path) -> None:
    for content in ("a = 1", "a = 2"):
        change_source(content)
        run_small(small, tmp_path, bits=12, seed=0)
    newest = {planned.identity.whole for planned in plan(load_suite(small), tmp_path)}
    change_source("a = 3")
    frame = collect(load_suite(small), tmp_path, any_source=True)
    assert len(frame) == 2
    assert set(frame["identity"]) < newest


def test_runs_of_this_machines_dtype_are_preferred(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    """To newer ones too, where the suite leaves the dtype to the machine."""
    path = write_suite(Path(small), base={"device": "cpu"})
    for dtype in ("float32", "bfloat16"):
        monkeypatch.setattr(config, "_fast_dtype", lambda device, dtype=dtype: dtype)
        run_small(path, tmp_path, bits=12, seed=0)
    monkeypatch.setattr(config, "_fast_dtype", lambda device: "float32")
    frame = collect(load_suite(path), tmp_path)
    assert frame["dtype"].tolist() == ["float32"] * 2


def test_runs_of_another_machines_dtype_are_shown_where_there_are_no_others(
    small: str, fast: list, tmp_path: Path, monkeypatch
) -> None:
    path = write_suite(Path(small), base={"device": "cpu"})
    for dtype in ("float32", "bfloat16"):
        monkeypatch.setattr(config, "_fast_dtype", lambda device, dtype=dtype: dtype)
        if dtype == "float32":
            run_small(path, tmp_path, bits=12, seed=0)
    assert collect(load_suite(path), tmp_path)["dtype"].tolist() == ["float32"] * 2


def test_runs_on_different_faces_are_not_mixed(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    suite = load_suite(small)
    run_suite(suite, tmp_path, jobs=1, only=["full"])
    monkeypatch.setattr(identity, "faces_hash", lambda config: "other faces")
    monkeypatch.setenv("FACES", "other faces")
    run_suite(suite, tmp_path, jobs=1, only=["no_center"])
    with pytest.raises(ValueError, match="no_center 12 bits seed 0 was run on other faces than the runs before it"):
        collect(suite, tmp_path)
    run_suite(suite, tmp_path, jobs=1)
    assert set(collect(suite, tmp_path)["faces"]) == {"other faces"}


def test_runs_on_the_faces_at_hand_are_preferred(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    """A photograph is taken away, some runs are made anew, and it is put back: the first runs are the right ones."""
    suite = load_suite(small)
    run_suite(suite, tmp_path, jobs=1)
    first = collect(suite, tmp_path)
    at_hand = identity.faces_hash
    monkeypatch.setattr(identity, "faces_hash", lambda config: "other faces")
    monkeypatch.setenv("FACES", "other faces")
    run_suite(suite, tmp_path, jobs=1, only=["full"])
    monkeypatch.setattr(report, "faces_hash", at_hand)
    assert collect(suite, tmp_path)["run"].tolist() == first["run"].tolist()


def test_a_suite_about_splits_may_have_several_faces(small: str, fast: list, tmp_path: Path) -> None:
    path = write_suite(Path(small), variants={"full": {}, "other": {"split_seed": 1}})
    run_small(path, tmp_path, bits=12)
    assert collect(load_suite(path), tmp_path)["faces"].nunique() == 2


# The page.


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict]]:
    """Runs the stub of the report notebook in this process; gives the list of the parameters of all executions."""
    executed: list[dict] = []

    def execute(source: Path, output: Path, parameters: dict) -> None:
        executed.append(parameters)
        exec(REPORT_STUB, dict(parameters))
        nbformat.write(nbformat.v4.new_notebook(), output)

    monkeypatch.setattr(report, "execute", execute)
    return executed


def test_a_report_needs_no_faces(small: str, fast: list, in_process: list, tmp_path: Path, monkeypatch) -> None:
    def gone(config: Config) -> None:
        raise FileNotFoundError("no faces there")

    run_small(small, tmp_path)
    for name in ("faces_hash", "load_split"):
        monkeypatch.setattr(identity, name, gone)
    monkeypatch.setattr("dcbh_core.faces.load_split", gone)
    assert "| no_center − full |" in (build_report(small, tmp_path) / "table.md").read_text()


def test_the_tables_are_made_by_the_notebook_alone(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    run_small(small, tmp_path)
    notebook = nbformat.v4.new_notebook()
    monkeypatch.setattr(report, "execute", lambda source, output, parameters: nbformat.write(notebook, output))
    monkeypatch.setattr(tables, "summary", lambda *arguments: pytest.fail("a table was made"))
    directory = build_report(small, tmp_path)
    assert sorted(path.name for path in directory.iterdir()) == ["report.html", "report.ipynb", "runs.csv", "runs.npz"]


def test_the_notebook_is_given_what_was_asked_for(small: str, fast: list, in_process: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    change_source()
    asked = {"settings": {"seed": [0, 1]}, "where": {"bits": 12}, "metric": "precision_at_50", "faces": False}
    build_report(small, tmp_path, **asked, any_source=True)
    [parameters] = in_process
    assert Path(parameters.pop("report_dir")).parent == tmp_path / "reports"
    assert parameters == {"suite": small, **asked, "out": str(tmp_path)}
    assert len(read_runs(tmp_path / "reports" / "small")) == 4


def test_runs_come_back_from_their_table_as_they_were(small: str, fast: list, tmp_path: Path, in_process: list) -> None:
    """Names that look like numbers, or like nothing, included."""
    variants = {"6": {}, "None": {"center_weight": 0}, "3": {"block_size": 3}}
    path = write_suite(Path(small), variants=variants)
    run_small(path, tmp_path)
    frame = collect(load_suite(path), tmp_path)
    pd.testing.assert_frame_equal(read_runs(build_report(path, tmp_path)), frame, check_dtype=False)


def test_ap_of_queries_reaches_the_report(small: str, fast: list, tmp_path: Path, in_process: list) -> None:
    """From each run's evaluation.npz, through the file beside the table of runs; one is missing, one is damaged."""
    run_small(small, tmp_path)
    suite, rng = load_suite(small), np.random.default_rng(0)
    paths = [tmp_path / "complete" / one.identity.name / "evaluation.npz" for one in plan(suite, tmp_path)]
    for i, path in enumerate(paths):
        names, labels = np.array(["Ann", "Bob", "Cid"]), rng.permutation([0, 0, 1, 2, 2])
        if i != 3:
            np.savez(path, ap_map=rng.random(5), queries_names=names, queries_labels=labels)
    paths[5].write_bytes(paths[5].read_bytes()[:-30])
    frame = collect(suite, tmp_path)
    back = read_runs(build_report(small, tmp_path))
    for i, (path, own, kept) in enumerate(zip(paths, frame[PER_QUERY], back[PER_QUERY], strict=True)):
        if i in (3, 5):
            assert own is kept is None
            continue
        with np.load(path) as arrays:
            ap, people = own.of("map")
            assert ap.tolist() == arrays["ap_map"].tolist()
            assert people.tolist() == arrays["queries_names"][arrays["queries_labels"]].tolist()
        ap, numbers = kept.of("map")
        np.testing.assert_allclose(ap, own.ap["map"], atol=1e-5)
        assert len(set(zip(people, numbers, strict=True))) == len(set(people)) == len(set(numbers)) == 3


def test_a_table_of_another_metric(small: str, fast: list, in_process: list, tmp_path: Path, capsys) -> None:
    run_small(small, tmp_path)
    assert main(["report", small, "--out", str(tmp_path), "--metric", "precision_at_50"]) == 0
    suite = load_suite(small)
    printed = capsys.readouterr().out
    assert markdown(table(summary(collect(suite, tmp_path), suite, "precision_at_50"), suite)) in printed
    assert "raw pixels" not in printed


@pytest.mark.parametrize(
    ("metric", "hint"), [("precision_at_5", "; did you mean 'precision_at_50'?"), ("device", ""), ("bits", "")]
)
def test_an_unknown_metric_names_the_nearest(
    small: str, fast: list, tmp_path: Path, capsys, metric: str, hint: str
) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    assert main(["report", small, "--out", str(tmp_path), "--metric", metric]) == 2
    known = "map, map_worst, map_best, precision_at_50, chance, pixels, descriptor, seconds"
    assert capsys.readouterr().err.splitlines()[-1] == f"error: unknown metric {metric!r}{hint} (known: {known})"


def test_the_shipped_notebook_makes_the_tables_of_any_metric(small: str, fast: list, tmp_path: Path) -> None:
    """The real one, executed by the real papermill."""
    run_small(small, tmp_path, bits=12)
    shutil.copy(NOTEBOOKS / identity.REPORT_NOTEBOOK, identity.NOTEBOOKS / identity.REPORT_NOTEBOOK)
    directory = build_report(small, tmp_path, where={"bits": 12}, metric="precision_at_50")
    suite = load_suite(small).where({"bits": 12})
    row = markdown(table(summary(collect(suite, tmp_path), suite, "precision_at_50"), suite)).splitlines()[-1]
    assert row in (directory / "table.md").read_text()
    entries = [entry.strip() for entry in row.strip("|").split("|")]
    assert re.search(
        r"<td[^>]*>" + r"</td>\s*<td[^>]*>".join(map(re.escape, entries)), (directory / "report.html").read_text()
    )


def test_two_reports_at_a_time_do_not_mix(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    run_small(small, tmp_path)
    both = threading.Barrier(2)

    def execute(source: Path, output: Path, parameters: dict) -> None:
        cell = nbformat.v4.new_markdown_cell(f"bits {parameters['where']['bits']}")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), output)
        both.wait(30)

    monkeypatch.setattr(report, "execute", execute)
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda bits: build_report(small, tmp_path, where={"bits": bits}), (12, 48)))
    directory = tmp_path / "reports" / "small"
    bits = {int(value) for value in pd.read_csv(directory / "runs.csv")["bits"]}
    assert len(bits) == 1
    assert f"bits {bits.pop()}" in (directory / "report.html").read_text()
    assert sorted(path.name for path in directory.parent.iterdir()) == [".lock", "small"]


def test_missing_runs_of_an_empty_frame_are_all(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    frame = collect(suite, tmp_path)
    assert len(missing_runs(suite, frame)) == 12
    assert frame.columns.tolist() == ["variant", "seed", "bits", "map"]


def test_runs_of_different_threads_are_not_mixed(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small)
    for variant, threads in (("full", 1), ("no_center", 2)):
        run_suite(suite, tmp_path, jobs=1, threads=threads, only=[variant])
    message = r"different threads .*: full 12 bits seed 0 \(1\) and no_center 12 bits seed 0 \(2\)"
    with pytest.raises(ValueError, match=message):
        collect(suite, tmp_path)
    run_suite(suite, tmp_path, jobs=1, threads=2)
    assert set(collect(suite, tmp_path)["threads"]) == {"2"}


def test_of_several_numbers_of_threads_that_of_most_runs_counts(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small)
    run_suite(suite, tmp_path, jobs=1, threads=2)
    run_suite(suite, tmp_path, jobs=1, threads=1, only=["full"])
    assert set(collect(suite, tmp_path)["threads"]) == {"2"}
    assert len(fast) == 18


# The whole page, of runs that have left everything.


@pytest.fixture
def left(small: str, fast: list, tmp_path: Path) -> Suite:
    """The small suite, its runs complete with codes, losses and sizes, and the shipped report notebook."""
    run_small(small, tmp_path)
    suite = load_suite(small)
    _, details = made_runs(suite, [0, 1, 2])
    for name, own in zip(collect(suite, tmp_path)["run"], details, strict=True):
        assert own is not None
        leave(tmp_path / "complete" / name, own)
    shutil.copy(NOTEBOOKS / identity.REPORT_NOTEBOOK, identity.NOTEBOOKS / identity.REPORT_NOTEBOOK)
    return suite


def test_the_page_shows_everything_and_each_figure_is_a_file(left: Suite, small: str, tmp_path: Path) -> None:
    directory = build_report(small, tmp_path)
    kept = {"map", *curves.KINDS, "losses", "codes_seen", "bit_balance", "bit_correlation"}
    files = {path.name for path in (directory / "figures").iterdir()}
    assert files == {f"{name}.{ending}" for name in kept for ending in ("pdf", "svg", "tex")}
    page = Seen((directory / "report.html").read_text())
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len(kept)
    for attributes in images:
        assert (attributes["src"] or "").startswith("data:image/svg+xml;base64,")
        assert len(attributes["alt"] or "") > 20
    for name in kept:
        assert f"figures/{name} " in page.words()
    for words in ("4 in training", "no_center 48 bits", "1,282", "effective number", "Wrong for all variants"):
        assert words in page.words()
    assert "Left out" not in page.words()
    assert (directory / "report.html").stat().st_size < 5_000_000
    assert not re.search(r"(src|href)=.https?://", (directory / "report.html").read_text())


def test_where_faces_cannot_be_had_one_line_says_so(left: Suite, small: str, tmp_path: Path) -> None:
    """Those of the stubs are not the faces of ORL."""
    shown, hidden = (
        Seen((build_report(small, tmp_path, where={"bits": 12}, faces=faces) / "report.html").read_text()).words()
        for faces in (None, False)
    )
    assert shown.count("Without faces: they are not on this machine, not those of these runs, or not to be shown.") == 1
    assert re.search(r"\d+, \$Ann_\d\$", shown) and "Ann" not in hidden


def test_figures_of_an_earlier_report_are_gone(left: Suite, small: str, tmp_path: Path) -> None:
    directory = build_report(small, tmp_path, where={"bits": 12})
    (directory / "figures" / "old.pdf").write_bytes(b"")
    first = {path.name: path.read_bytes() for path in (directory / "figures").glob("*.svg")}
    build_report(small, tmp_path, where={"bits": 12})
    assert not (directory / "figures" / "old.pdf").exists()
    again = {path.name: path.read_bytes() for path in (directory / "figures").glob("*.svg")}
    assert again == first  # figures bear no date


def test_the_command_of_a_table_names_no_directory() -> None:
    settings = {"dataset": "folder", "root": "/somewhere/faces", "seed": [0, 1]}
    command = (
        "python -m ablations run orl_quick --set dataset=folder --set root=DIR --set 'seed=[0, 1]' --where bits=12"
    )
    assert report.made_by("run", "orl_quick", settings, {"bits": 12}) == command


# Suites' texts and names in Markdown, and Markdown in pages.

IMAGE, LINK = """<img src=x onerror="document.title='run'">""", "[x](javascript:alert(1))"


class Seen(HTMLParser):
    """What a browser sees of a page: its tags with their attributes, and the text of each element it meets."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def names(self) -> list[str]:
        return [tag for tag, _ in self.tags]

    def words(self) -> str:
        return " ".join(self.text.split())


SIGNS = [
    *"\\`*_{}[]()#+-.!|<>&$~=:\"'^%@/ \n\tab1",
    *(
        "](x)",
        IMAGE,
        LINK,
        "$$",
        "\\begin{equation}",
        "\\(",
        "\\)",
        "```",
        "---",
        "&lt;",
        "1. ",
        "> ",
        "<!--",
        "[^1]: ",
    ),
    *("https://a.b", "a@b.c", "![", "\u2028", "\xa0"),
]


@pytest.mark.parametrize("seed", range(3))
def test_any_text_is_shown_as_it_is(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(200):
        text = "".join(draw.choices(SIGNS, k=draw.randint(1, 8)))
        words = " ".join(text.split())
        paragraph = Seen(markdown_to_html(plain(text)))
        assert (paragraph.names(), paragraph.words()) == (["p"] * bool(words), words)
        heading = Seen(markdown_to_html(f"## {plain(text)} and"))
        assert (heading.names(), heading.words()) == (["h2", "a"], f"{words} and".strip())
        frame = pd.DataFrame({"variant": [f"{text} 1"], f"{text} 2": ["0.5"]})
        cells = Seen(markdown_to_html(markdown(frame)))
        assert cells.names() == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
        assert cells.words() == " ".join(f"variant {words} 2 {words} 1 0.5".split())


HARMFUL = [
    *("[x](javascript:alert(1))", "[x](JaVa&Tab;Script:alert(1))", "[x](&#1;javascript:alert(1))", "<javascript:a>"),
    *("[x][y]\n\n[y]: javascript:alert(1)", "[x](data:text/html,a)", "![x](javascript:alert(1))", "[x](vbscript:a)"),
    *(IMAGE, f"# {IMAGE}", "<script>alert(1)</script>", "<div onclick=a>\nb\n</div>", f"```mermaid\n{IMAGE}\n```"),
]


@pytest.mark.parametrize("source", HARMFUL)
def test_nothing_in_markdown_can_act_in_a_page(source: str) -> None:
    cells = [nbformat.v4.new_markdown_cell(source), nbformat.v4.new_code_cell("")]
    cells[1].outputs = [nbformat.v4.new_output("display_data", {"text/markdown": source})]
    assert_harmless(Seen(html_page(nbformat.v4.new_notebook(cells=cells), f"A {IMAGE}")))


def assert_harmless(page: Seen) -> None:
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("href", "src"):
            address = "".join(re.findall(r"[^\x00-\x20]", attributes.get(name) or ""))
            scheme = re.match(r"[\w+.-]*:", address)
            assert scheme is None or scheme[0] in ("http:", "https:", "mailto:") or address.startswith("data:image/")


def test_links_of_other_protocols_do_get_into_a_page() -> None:
    page = Seen(markdown_to_html("[x](https://example.org) [y](#there) [z](mailto:a@example.org) [w](a.ipynb)"))
    addresses = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert addresses == ["https://example.org", "#there", "mailto:a@example.org", "a.ipynb"]


def test_the_shipped_notebook_shows_a_suites_texts_as_they_are(small: str, fast: list, tmp_path: Path) -> None:
    """The real one, executed by the real papermill, on a suite whose texts and names are markup, HTML and links."""
    names = [f"full | {IMAGE}", f"{LINK} | $x$ `c` **b**", "# [1]: _a_ ~~b~~"]
    variants = dict(zip(names, ({}, {"center_weight": 0}, {"head": "fc"}), strict=True))
    title, about = f"A {IMAGE} {LINK}\n# two", f"# Does {IMAGE} act?\n\n{LINK}"
    path = write_suite(Path(small), title=title, about=about, variants=variants)
    run_small(path, tmp_path, bits=12)
    (tmp_path / "complete" / plan(load_suite(path), tmp_path)[4].identity.name / "run.json").unlink()  # a note says so
    shutil.copy(NOTEBOOKS / identity.REPORT_NOTEBOOK, identity.NOTEBOOKS / identity.REPORT_NOTEBOOK)
    directory = build_report(path, tmp_path)
    page = Seen((directory / "report.html").read_text())
    assert_harmless(page)
    for words in (*names, title, about, f"Missing runs (10 of 18): {names[1]} 12 bits seed 1"):
        assert " ".join(words.split()) in page.words()
    table = Seen(markdown_to_html((directory / "table.md").read_text()))
    rows = table.names().count("tr")
    assert (rows, table.names().count("td")) == (1 + 7, 7 * 3)
    assert_harmless(table)
