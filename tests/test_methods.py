"""From names to classes: the kit's methods, those of a file of one's own, and files that are broken."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcbh_core import Config, Head, Objective
from dcbh_core.heads import HEADS
from dcbh_core.losses import OBJECTIVES
from dcbh_core.methods import find_head, find_objective, find_recipe, line_of, own_file, unknown_name
from dcbh_core.peers import PEERS
from dcbh_core.training import TRAININGS

HEAD = """from dcbh_core import Head


class MyHead(Head):
    def forward(self, f):
        return f[:, : self.bits]
"""
OBJECTIVE = """from dcbh_core import Objective


class MyLoss(Objective):
    terms = ("own",)
"""


def written(directory: Path, source: str) -> str:
    """The path of a file with this content."""
    (directory / "own.py").write_text(source)
    return str(directory / "own.py")


def test_every_name_of_the_kit_is_found():
    assert {name: find_head(name) for name in HEADS} == HEADS
    objectives = {**OBJECTIVES, **PEERS}
    assert {name: find_objective(name) for name in objectives} == objectives
    assert {name: find_recipe(name) for name in TRAININGS} == TRAININGS


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (find_head, "blok", r"unknown head 'blok'; did you mean 'block'\? .*FILE\.py:NAME for a head of your own"),
        (find_objective, "cqs", r"objective 'cqs'; did you mean 'csq'\? .*FILE\.py:NAME for an objective of your own"),
        (find_recipe, "modem", r"recipe 'modem'; did you mean 'modern'\? .*FILE\.py:NAME for a recipe of your own"),
        (find_head, "csq", "unknown head 'csq'"),
        (find_head, "own.py", r"unknown head 'own\.py'"),
        (find_head, "own:MyHead", "unknown head 'own:MyHead'"),
        (find_head, "own.py:My Head", r"unknown head 'own\.py:My Head'"),
        (find_head, "", "unknown head ''"),
    ],
)
def test_a_name_that_is_none_is_named_with_what_could_be_meant(find, name, message):
    with pytest.raises(ValueError, match=message):
        find(name)


@pytest.mark.parametrize(
    ("name", "path", "wanted"),
    [
        ("a.py:B", "a.py", "B"),
        ("/x y/a.b.py:B_1", "/x y/a.b.py", "B_1"),
        ("C:/x/a.py:B", "C:/x/a.py", "B"),
        ("a.py:b.py:C", "a.py:b.py", "C"),
    ],
)
def test_what_stands_before_the_last_colon_is_the_file(name, path, wanted):
    assert own_file(name) == (Path(path), wanted)


@pytest.mark.parametrize("name", [None, "block", "a.py", "a.py:", ":B", "a.txt:B", "a.py:B()", ".py:B"])
def test_what_names_no_file_and_class_is_no_file_of_ones_own(name):
    assert own_file(name) is None


def test_a_class_of_ones_own_is_found(tmp_path):
    found = find_head(f"{written(tmp_path, HEAD)}:MyHead")
    assert issubclass(found, Head)
    assert found.__name__ == "MyHead"


def test_the_same_content_gives_the_same_class_and_an_edit_another(tmp_path):
    name = f"{written(tmp_path, HEAD)}:MyHead"
    first = find_head(name)
    assert find_head(name) is first
    written(tmp_path, HEAD.replace("self.bits]", "self.bits] * 2"))
    assert find_head(name) is not first
    written(tmp_path, HEAD)
    assert find_head(name) is first


def test_a_relative_path_begins_where_one_is(tmp_path, monkeypatch):
    written(tmp_path, HEAD)
    monkeypatch.chdir(tmp_path)
    assert find_head("own.py:MyHead") is find_head(f"{tmp_path}/own.py:MyHead")


def test_a_method_may_be_built_on_one_of_the_kits(tmp_path):
    source = "from dcbh_core.losses import DCBHObjective\n\n\nclass Mine(DCBHObjective):\n    head = 'fc'\n"
    found = find_objective(f"{written(tmp_path, source)}:Mine")
    assert found.constants == OBJECTIVES["dcbh"].constants
    assert Config(objective=f"{tmp_path}/own.py:Mine").resolved().head == "fc"


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_a_file_may_hold_dataclasses(tmp_path, future):
    source = f"{future}import dataclasses\n{HEAD}\n\n@dataclasses.dataclass\nclass Settings:\n    size: int = 1\n"
    assert find_head(f"{written(tmp_path, source)}:MyHead").__name__ == "MyHead"


def test_a_file_is_executed_as_it_stands_and_not_as_if_it_were_the_kits(tmp_path):
    """The kit's own modules postpone the evaluation of annotations; a file may count on the contrary."""
    source = f"{HEAD}\n\ndef add(x: int) -> int:\n    return x\n\n\nassert add.__annotations__['x'] is int\n"
    find_head(f"{written(tmp_path, source)}:MyHead")


# --- Broken files: one sentence, with file and line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        (HEAD.replace("f):", "f)"), 5, "expected ':'"),
        (HEAD.replace("return", "retrun"), 6, "invalid syntax"),
        (HEAD + "\nimport nonesuch\n", 8, "ModuleNotFoundError: No module named 'nonesuch'"),
        (HEAD + "\n\ndef half(x):\n    return x / 0\n\n\nhalf(1)\n", 10, "ZeroDivisionError: division by zero"),
        (HEAD.replace("(Head)", "(Haed)"), 4, "NameError: name 'Haed' is not defined"),
        (HEAD + "import sys\nsys.exit(3)\n", 8, "SystemExit: 3"),
        (HEAD.replace("(Head)", ""), 4, r"MyHead must be a subclass of dcbh_core\.Head"),
        ("\n\ndef MyHead(bits, size):\n    pass\n", 3, r"MyHead must be a subclass of dcbh_core\.Head"),
        ("from dcbh_core import Objective as MyHead\n", 1, r"MyHead must be a subclass of dcbh_core\.Head"),
    ],
)
def test_a_head_whose_file_is_broken_is_one_sentence_with_file_and_line(tmp_path, source, line, message):
    name = f"{written(tmp_path, source)}:MyHead"
    with pytest.raises(ValueError, match=rf"^{tmp_path}/own\.py, line {line}: {message}[^\n]*$"):
        find_head(name)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("pass", "must name its terms"),
        ("terms = ()", "must name its terms"),
        ('terms = ["own"]', "must name its terms"),
        ('terms = "own"', "must name its terms"),
        ('terms = ("own", "total")', "must name its terms, none of them total"),
        ('terms = ("own",)\n    head = "blok"', "goes with an unknown head of the kit 'blok'; did you mean 'block'"),
        ('terms = ("own",)\n    head = "own.py:MyHead"', r"goes with an unknown head of the kit 'own\.py:MyHead'"),
    ],
)
def test_an_objective_that_states_its_facts_wrongly_is_one_sentence_with_file_and_line(tmp_path, attributes, message):
    source = OBJECTIVE.replace('terms = ("own",)', attributes)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/own\.py, line 4: MyLoss {message}[^\n]*$"):
        find_objective(f"{written(tmp_path, source)}:MyLoss")


def test_a_class_that_is_not_there_is_named_with_the_nearest_that_is(tmp_path):
    path = written(tmp_path, HEAD + "\n\nclass Other(Head):\n    pass\n")
    message = rf"unknown head in {path}: 'MyHaed'; did you mean 'MyHead'\? \(known: MyHead, Other\)$"
    with pytest.raises(ValueError, match=message):
        find_head(f"{path}:MyHaed")


def test_a_head_is_no_objective(tmp_path):
    with pytest.raises(ValueError, match=r"line 4: MyHead must be a subclass of dcbh_core\.Objective"):
        find_objective(f"{written(tmp_path, HEAD)}:MyHead")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"head '{tmp_path}/none\.py:A': there is no file {tmp_path}/none\.py"):
        find_head(f"{tmp_path}/none.py:A")
    (tmp_path / "directory.py").mkdir()
    with pytest.raises(ValueError, match=r"there is no file .*directory\.py"):
        find_head(f"{tmp_path}/directory.py:A")


def test_a_broken_file_is_found_when_the_config_is_made(tmp_path):
    path = written(tmp_path, HEAD.replace("f):", "f)"))
    with pytest.raises(ValueError, match=r"own\.py, line 5: expected ':'"):
        Config(head=f"{path}:MyHead")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_the_error_names_it(tmp_path, content):
    (tmp_path / "noise.py").write_bytes(b"(\n" + content)  # a bracket that is hardly ever closed
    complaint = f"{tmp_path}/noise.py"
    try:
        find_head(f"{tmp_path}/noise.py:MyHead")
    except ValueError as error:
        complaint = str(error)
    assert f"{tmp_path}/noise.py" in complaint
    assert "line None" not in complaint


# --- Lines and sentences ----------------------------------------------------------------------------------------------

LINES = """import functools

class A:
    x = 1

    @functools.cache
    def f(self):
        pass


class B(A):
    pass


C = A
"""


@pytest.mark.parametrize(
    ("name", "function", "line"),
    [("A", "", 3), ("A", "f", 7), ("A", "g", 3), ("B", "", 11), ("B", "f", 11), ("C", "f", 1)],
)
def test_a_line_is_that_of_the_function_or_else_of_the_class_or_else_the_first(tmp_path, name, function, line):
    (tmp_path / "own.py").write_text(LINES)
    assert line_of(tmp_path / "own.py", name, function) == line


def test_the_last_of_two_classes_of_one_name_counts(tmp_path):
    (tmp_path / "own.py").write_text("class A:\n    pass\n\n\nclass A:\n    pass\n")
    assert line_of(tmp_path / "own.py", "A") == 5


@given(st.lists(st.text("abc", min_size=1), min_size=1, unique=True), st.text("xyz", min_size=1))
@settings(max_examples=50, deadline=None)
def test_an_unknown_name_is_told_with_all_that_are_known(known, name):
    assert str(unknown_name("thing", name, known)) == f"unknown thing {name!r} (known: {', '.join(known)})"


def test_a_name_that_is_nearly_known_is_told_with_the_nearest():
    expected = "unknown thing 'colour'; did you mean 'color'? (known: size, color)"
    assert str(unknown_name("thing", "colour", ["size", "color"])) == expected


def test_the_bases_themselves_are_no_methods(tmp_path):
    with pytest.raises(ValueError, match="must name its terms"):
        find_objective(f"{written(tmp_path, OBJECTIVE)}:Objective")
    assert not hasattr(Objective, "terms")
