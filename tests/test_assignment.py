"""The assignment: values differ from student to student, right answers get all points, and whatever is handed in is a
row."""

import json
import math
import re
from itertools import permutations

import nbformat
import numpy as np
import pytest
from course import assignment
from course.assignment import grade, main, new, share, tasks

STUDENTS = ["Ada Lovelace", "Émile", "Grace"]


@pytest.fixture
def made(tmp_path):
    new(tmp_path / "a", STUDENTS)
    (tmp_path / "in").mkdir()
    return tmp_path


def expected(made) -> dict:
    return json.loads((made / "a/teacher/expected.json").read_text("utf-8"))


def hand_in(made, stem: str, answers: object) -> None:
    (made / f"in/{stem}.json").write_text(json.dumps(answers))


def answers_of(made, stem: str) -> dict:
    return {str(i): task["expected"] for i, task in enumerate(expected(made)[stem]["tasks"], 1)}


def test_each_student_has_a_notebook_with_values_that_nobody_else_has(made):
    notebooks = sorted((made / "a/students").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == ["ada_lovelace", "grace", "émile"]
    for number in (1, 2, 3, 4, 5, 6):
        cells = [
            next(cell.source for cell in nbformat.read(path, as_version=4).cells if f"answers[{number}]" in cell.source)
            for path in notebooks
        ]
        assert len(set(cells)) == 3


def test_what_a_student_gets_holds_neither_the_key_nor_a_right_number(made):
    key = (made / "a/teacher/key.txt").read_text().strip()
    for stem, own in expected(made).items():
        text = (made / f"a/students/{stem}.ipynb").read_text("utf-8")
        decimals = [f"{value:.4f}" for task in own["tasks"][1:3] for value in task["expected"] if value not in (0, 1)]
        assert decimals
        assert key not in text
        assert not [number for number in decimals if number in text]


def test_the_same_key_and_name_give_the_same_values_and_another_key_others():
    assert tasks("key", "ada") == tasks("key", "ada")
    assert [task.given for task in tasks("key", "ada")[0]] != [task.given for task in tasks("other", "ada")[0]]


@pytest.mark.parametrize("student", [f"s{i}" for i in range(8)])
def test_expected_numbers_are_those_of_a_slow_calculation(student):
    given, _ = tasks("key", student)
    names: list[dict] = []
    for task in given:
        exec(task.given, {}, values := {})
        names.append(values)
    apart = [np.unpackbits(np.array(names[0][side], np.uint8)) for side in ("query", "face")]
    assert given[0].expected == [(apart[0] != apart[1]).sum()]

    found = []
    groups = [
        [r for d, r in zip(names[1]["distances"], names[1]["right"], strict=True) if d == distance]
        for distance in sorted(set(names[1]["distances"]))
    ]

    def walk(before: list[bool], rest: list[list[bool]], weight: float) -> None:
        if not rest:
            precision = np.cumsum(before) / np.arange(1, len(before) + 1)
            found.append((precision[np.array(before)].mean(), weight))
            return
        orders = sorted(set(permutations(rest[0])))
        for order in orders:
            walk([*before, *order], rest[1:], weight / len(orders))

    walk([], groups, 1.0)
    aps = [ap for ap, _ in found]
    slow = [min(aps), sum(ap * weight for ap, weight in found), max(aps)]
    assert given[1].expected == pytest.approx(slow)

    blocks = np.exp(np.array(names[2]["f"]).reshape(4, names[2]["block_size"]))
    assert given[2].expected == pytest.approx(np.tanh((blocks / blocks.sum(1, keepdims=True)).max(1) - 0.5))

    f, labels, old = (np.array(names[3][name]) for name in ("f", "labels", "centers"))
    moved = [(old[i] + f[labels == i].sum(0)) / (1 + (labels == i).sum()) for i in range(3)]
    assert given[3].expected == pytest.approx(np.ravel(moved))

    n, radius, bits = names[4]["n"], names[4]["radius"], int(given[4].expected[0])
    within = [n * sum(math.comb(b, d) for d in range(radius + 1)) / 2**b for b in (bits - 1, bits, 64)]
    assert within[1] < 1 <= within[0]
    assert given[4].expected[1] == pytest.approx(within[2])

    p = sorted(names[5]["p"])
    held = next((i for i, value in enumerate(p) if value > 0.05 / (len(p) - i)), len(p))
    assert given[5].expected == [held, sum(value <= 0.05 for value in p)]


def test_right_answers_get_all_points_and_single_numbers_their_share(made):
    hand_in(made, "grace", answers_of(made, "grace"))
    hand_in(made, "émile", {**answers_of(made, "émile"), "2": [*answers_of(made, "émile")["2"][:2], 7]})
    table = grade(made / "a", made / "in").set_index("student")
    assert table.loc["Grace", "numbers"] == 85
    assert table.loc["Émile", "task 2"] == pytest.approx(20 * 2 / 3)
    assert table.loc["Grace", "note"] == ""


def test_whatever_is_handed_in_is_a_row_with_its_reason(made):
    (made / "in/ada_lovelace.json").write_text("{")
    hand_in(made, "grace", [1, 2])
    hand_in(made, "nobody", {})
    table = grade(made / "a", made / "in").set_index("student")
    assert table["note"].to_dict() == {
        "Ada Lovelace": "ada_lovelace.json is no JSON",
        "Émile": "handed in nothing",
        "Grace": "grace.json holds no table of answers",
        "nobody": "nobody of this name has an assignment",
    }
    assert table.loc["Grace", "numbers"] == 0


def test_somebody_elses_numbers_are_noted(made):
    hand_in(made, "grace", answers_of(made, "ada_lovelace"))
    note = grade(made / "a", made / "in").set_index("student").loc["Grace", "note"]
    assert "task 3 has the numbers of Ada Lovelace" in note


@pytest.mark.parametrize("answer", [None, "1", True, [True], [[1]], {"a": 1}, [float("nan")], [1, 1], [1.01]])
def test_what_is_no_right_number_gets_nothing(answer):
    assert share(answer, [1.0]) == 0


def test_numbers_may_be_rounded_to_four_digits():
    assert share(0.6667, [2 / 3]) == 1
    assert share([0, 1234], [0.0, 1234.4]) == 1
    assert share([1e-12], [3e-12]) == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there are no students: write one name a line"),
        (["Ada L", "ada-l"], "'Ada L' and 'ada-l' would both have the file ada_l.ipynb"),
        (["..."], "'...' has no letter or digit to name a file by"),
    ],
)
def test_a_bad_list_of_students_is_one_sentence(tmp_path, capsys, names, message):
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert main(["new", str(tmp_path / "a"), "--students", str(tmp_path / "list.txt")]) == 1
    assert capsys.readouterr().err == message + "\n"
    assert not (tmp_path / "a").exists()


def test_an_assignment_is_not_made_over_another_and_none_is_not_graded(made, capsys):
    (made / "list.txt").write_text("Ada")
    before = expected(made)
    assert main(["new", str(made / "a"), "--students", str(made / "list.txt")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert expected(made) == before
    assert main(["grade", str(made / "in"), str(made / "in")]) == 1
    assert "holds no assignment" in capsys.readouterr().err


@pytest.mark.parametrize("left_open", [None, "1"])
def test_a_students_notebook_runs_and_writes_what_is_graded(made, monkeypatch, left_open):
    """With the right numbers put in, as NumPy has them, or with a task left open; as a student would, cell by cell."""
    monkeypatch.chdir(made / "in")
    answers = answers_of(made, "grace")
    names: dict = {"np": np}
    for cell in nbformat.read(made / "a/students/grace.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            number = re.search(r"answers\[(\d)\] = None", cell.source)
            answered = number and number[1] != left_open
            source = cell.source.replace("= None", f"= np.array({answers[number[1]]})") if answered else cell.source
            exec(source, names)
    assert main(["grade", str(made / "a"), str(made / "in")]) == 0
    points = grade(made / "a", made / "in").set_index("student").loc["Grace", "numbers"]
    assert points == 85 if left_open is None else 0 < points < 85


def test_a_number_that_no_float_holds_is_wrong() -> None:
    assert share(10**400, [1.0]) == 0


def test_points_and_rubric_add_up():
    given, experiment = tasks("key", "ada")
    assert sum(task.points for task in given) + 15 == 100
    assert experiment in assignment.EXPERIMENTS
    assert assignment.RUBRIC.count("\n| ") - 2 == 15 / 3
