"""A run's identity changes with all that its metrics depend on, and with nothing else."""

import dataclasses
import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from ablations import identity
from ablations.identity import changed_sources, identify, source_hash
from ablations.report import collect
from ablations.runner import plan, status
from ablations.suite import load_suite
from dcbh_core import Config, Split
from tests.stub_suite import OWN, edit, run_small


def whole(**values: object) -> str:
    [one] = identify([Config(**values)])
    return one.whole


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
    before = whole()
    monkeypatch.setattr(identity, "faces_hash", lambda config: "other faces")
    assert whole() != before


def test_the_place_of_the_faces_does_not_change_the_identity(small: str) -> None:
    here, there = identify([Config(dataset="folder", root="here"), Config(dataset="folder", root="there")])
    assert here.whole == there.whole


def test_every_part_of_a_split_changes_the_hash_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Part:
        name: str

        def fingerprint(self) -> str:
            return self.name

    parts = [Part("a"), Part("b"), Part("c"), None, Part("d")]
    hashes = set()
    for place in (None, 0, 1, 2, 3, 4):
        changed = [Part("x") if i == place else part for i, part in enumerate(parts)]
        monkeypatch.setattr(identity, "load_split", lambda config, changed=changed: Split(*changed))
        hashes.add(identity.faces_hash(Config()))
    assert len(hashes) == 6


def test_each_distinct_split_is_loaded_once(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(identity, "faces_hash", lambda config: loaded.append(config.data().split_seed) or "faces")
    list(identify(Config(bits=bits, split_seed=split) for bits in (12, 48) for split in (None, 0, 1)))
    assert loaded == [0, 1]


# Sources.

PLAIN = """
def double(x):
    return 2 * x
"""
SAME = '''
"""A module."""


def double(x):  # a function
    """Twice x."""

    # It is simple.
    return (2 * x)
'''


def test_comments_docstrings_and_layout_are_not_in_a_source() -> None:
    assert source_hash(SAME) == source_hash(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        "def double(x):\n    return 3 * x",
        "def double(x):\n    return 2.0 * x",
        "def double(y):\n    return 2 * y",
        "def double(x=None):\n    return 2 * x",
        "def double(x):\n    'twice'\n    'x'\n    return 2 * x",  # the second one is no docstring
    ],
)
def test_whatever_may_act_is_in_a_source(other: str) -> None:
    assert source_hash(other) != source_hash(PLAIN)


def test_a_cell_that_only_ipython_understands_has_a_hash() -> None:
    assert source_hash("%time train()") != source_hash("%time measure()")


CORE_FILES = [("losses.py", True), ("figures.py", False), ("peers.py", False), ("new.py", True)]


def test_two_threads_may_hash_sources_at_the_same_time() -> None:  # see syntax_tree
    source = "\n".join(f"f{i}(((a, b), c), [d, {{e: (f, g)}}])" for i in range(200))
    expected, interval, thresholds = source_hash(source), sys.getswitchinterval(), gc.get_threshold()

    def some_python(phase: str, info: dict) -> None:
        sum(range(50))  # in which the interpreter may turn to the other thread

    gc.callbacks.append(some_python)
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(50)
        with ThreadPoolExecutor(2) as pool:
            assert set(pool.map(source_hash, [source] * 20)) == {expected}
    finally:
        gc.callbacks.remove(some_python)
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize(("name", "matters"), CORE_FILES)
def test_sources_of_the_core_change_the_identity(small: str, name: str, matters: bool) -> None:
    before = whole()
    (identity.CORE / name).write_text("a = 2")
    assert (whole() != before) == matters


def test_the_source_that_measures_changes_the_identity(small: str) -> None:
    before = whole()
    identity.RUN_DIRECTORY.write_text("a = 2")
    assert whole() != before


@pytest.mark.parametrize("path", ["core/losses.py", "run_directory.py", "core/peers.py"])
def test_a_changed_comment_or_docstring_changes_nothing(small: str, tmp_path: Path, path: str) -> None:
    before = whole(objective="csq")
    (tmp_path / path).write_text('"""A module."""\na = 1  # one')
    assert whole(objective="csq") == before


@pytest.mark.parametrize(
    ("kind", "source", "matters"),
    [("code", "b = 1", True), ("code", "# one more", False), ("markdown", "one more", False)],
)
def test_only_the_code_of_the_notebook_changes_the_identity(small: str, kind: str, source: str, matters: bool) -> None:
    path = identity.notebook(identity.TRAINING_NOTEBOOK)
    before = whole()
    content = nbformat.read(path, as_version=4)
    if source.startswith("#"):
        content.cells[-1].source += source
    else:
        content.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")(source))
    nbformat.write(content, path)
    assert (whole() != before) == matters


def test_cells_that_batches_leave_out_do_not_change_the_identity(small: str) -> None:
    path = identity.notebook(identity.TRAINING_NOTEBOOK)
    before = whole()
    content = nbformat.read(path, as_version=4)
    content.cells.append(nbformat.v4.new_code_cell("an_exercise()", metadata={"tags": ["course"]}))
    nbformat.write(content, path)
    assert whole() == before


@pytest.mark.parametrize(("objective", "concerned"), [("csq", True), ("softmax", True), ("soft_block", False)])
def test_peers_are_in_the_identity_of_those_who_use_them(small: str, objective: str, concerned: bool) -> None:
    before = whole(objective=objective)
    (identity.CORE / "peers.py").write_text("a = 2")
    assert (whole(objective=objective) != before) == concerned


def test_changed_sources_are_named() -> None:
    before = {"faces.py": "1", "losses.py": "2", "own/a.py": "3"}
    now = {"faces.py": "1", "losses.py": "x", "heads.py": "4"}
    assert changed_sources(before, now) == ["heads.py", "losses.py", "own/a.py"]


# Files of one's own.


@pytest.fixture
def own(small: str, tmp_path: Path) -> Path:
    (tmp_path / "pull.py").write_text(OWN)
    return tmp_path / "pull.py"


def test_a_file_of_ones_own_is_in_the_identity_of_those_who_use_it(own: Path) -> None:
    with_it, without = whole(objective=f"{own}:Pull"), whole()
    own.write_text(OWN.replace("self.tau - ", "2 * self.tau - "))
    assert whole(objective=f"{own}:Pull") != with_it
    assert whole() == without


def test_comments_and_docstrings_of_a_file_of_ones_own_are_not_in_the_identity(own: Path) -> None:
    before = whole(objective=f"{own}:Pull")
    own.write_text(OWN.replace("The mean distance", "On average, the distance").replace("  # towards tau", ""))
    assert own.read_text() != OWN
    assert whole(objective=f"{own}:Pull") == before


def test_where_a_file_of_ones_own_lies_is_not_in_the_identity(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = own.parent / "elsewhere"
    there.mkdir()
    (there / own.name).write_text(OWN)
    monkeypatch.chdir(there)
    first, *others = (whole(objective=f"{place}pull.py:Pull") for place in (f"{own.parent}/", f"{there}/", ""))
    assert others == [first, first]


IMPORTS = [
    "from dcbh_core.peers import CSQObjective",
    "from dcbh_core import peers",
    "import dcbh_core.peers as rivals",
]


@pytest.mark.parametrize("statement", IMPORTS)
def test_what_a_file_of_ones_own_imports_is_in_the_identity(own: Path, statement: str) -> None:
    own.write_text(f"{statement}\n{OWN}")
    before = whole(objective=f"{own}:Pull")
    (identity.CORE / "peers.py").write_text("a = 2")
    assert whole(objective=f"{own}:Pull") != before


def test_a_head_and_an_objective_of_ones_own_are_both_in_the_identity(own: Path) -> None:
    head = own.with_name("head.py")
    text = "from dcbh_core.heads import FCHead\n\n\nclass Mine(FCHead):\n    relu = {}"
    values = {"objective": f"{own}:Pull", "head": f"{head}:Mine"}
    hashes = set()
    for relu, target in ((True, "tau"), (False, "tau"), (True, "tau + 1")):
        head.write_text(text.format(relu))
        own.write_text(OWN.replace("self.tau", f"self.{target}"))
        hashes.add(whole(**values))
    assert len(hashes) == 3


def test_the_identity_of_the_real_faces_is_stable() -> None:
    assert identity.faces_hash(Config()) == identity.faces_hash(Config(bits=12, queries_per_identity=3))


def test_threads_change_the_identity(small: str) -> None:
    configs = [Config(width=0.1)]
    [one], [two] = identity.identify(configs, threads=1), identity.identify(configs, threads=2)
    assert one.whole != two.whole
    assert one.settings == two.settings


DAMAGES = [
    *[{"config": value} for value in ([], {}, {"bits": [[[]]]}, None)],
    *[{"seconds": value} for value in (10**400, "1.0", float("nan"), [])],
    *[{"identity": value} for value in ("none", {}, [])],
    *[{field.name: value} for field in dataclasses.fields(identity.Identity) for value in ([], None)],  # of identity
    {"sources": {"losses.py": 1}},
]


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_damaged_run_json_of_any_kind_is_not_counted_and_stops_nothing(
    small: str, fast: list, tmp_path: Path, damage: dict
) -> None:
    run_small(small, tmp_path)
    directory = next((tmp_path / "complete").iterdir())
    run = json.loads((directory / "run.json").read_text())
    damaged = run if set(damage) <= set(run) else run["identity"]
    damaged.update(damage)
    (directory / "run.json").write_text(json.dumps(run))
    with pytest.raises(ValueError, match="unusable result"):
        identity.read_run(directory)
    assert [planned.complete for planned in plan(load_suite(small), tmp_path)].count(False) == 1
    assert len(collect(load_suite(small), tmp_path)) == 11
    assert status(tmp_path).startswith("small: 11 of 12 runs complete")
    fast.clear()
    run_small(small, tmp_path)
    assert len(fast) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metrics", {"map": 0.5, "precision_at_50": "0.5"}),
        ("metrics", [0.5]),
        ("metrics", {"map": 10**400}),
        ("timings", {}),
        ("environment", {"device": "cpu", "dtype": "float32", "machine": ["a CPU"], "torch": "2.13"}),
        ("environment", None),
        ("config", None),
        ("faces", None),
    ],
)
def test_a_result_of_another_form_is_not_counted(
    small: str, fast: list, tmp_path: Path, key: str, value: object
) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    directory = next((tmp_path / "complete").iterdir())
    edit(directory / "result.json", key, value)
    assert len(identity.complete_runs(tmp_path)) == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "[1", "\x00", '{"identity": ' * 100_000])
@pytest.mark.parametrize("file", ["run.json", "result.json"])
def test_a_file_of_anything_else_is_not_counted(
    small: str, fast: list, tmp_path: Path, file: str, content: str
) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    directory = next((tmp_path / "complete").iterdir())
    (directory / file).write_text(content)
    assert len(identity.complete_runs(tmp_path)) == 1


def test_a_run_on_faces_that_were_changed_meanwhile_is_no_result_of_its_identity(
    small: str, fast: list, tmp_path: Path
) -> None:
    run_small(small, tmp_path)
    directory = next((tmp_path / "complete").iterdir())
    edit(directory / "result.json", "faces", "others")
    with pytest.raises(ValueError, match="the faces were changed while the suite ran"):
        identity.read_run(directory)
