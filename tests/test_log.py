"""The signed log of solved exercises: written by checks where it is asked for, and broken by any change."""

import json

import course
import pytest
from course import log

from tests.conftest import answered

KEY = "of the class"


@pytest.fixture
def path(tmp_path, monkeypatch):
    for name, value in {"LOG": str(tmp_path / "log.jsonl"), "KEY": KEY, "NAME": "Ada"}.items():
        monkeypatch.setenv(f"COURSE_{name}", value)
    return tmp_path / "log.jsonl"


def solve(exercise: str) -> None:
    import runpy

    from tests.conftest import SOLUTIONS

    course.check(exercise, runpy.run_path(str(SOLUTIONS / f"{exercise.replace('.', '_')}.py"))["answer"])


@answered
def test_a_check_notes_what_is_solved_and_nothing_else(path, capsys):
    solve("1.3")
    course.check("1.1", lambda *_: 0)
    course.check("1.2", ...)
    solve("9.1")
    assert [line[:2] for line in log.verified(path, KEY)] == [["Ada", "1.3"], ["Ada", "9.1"]]
    capsys.readouterr()
    assert log.main([str(path), "--key", KEY]) == 0
    assert capsys.readouterr().out == "Ada: 1.3, 9.1\n"


@answered
def test_without_a_key_nothing_is_written(path, monkeypatch):
    monkeypatch.delenv("COURSE_KEY")
    solve("1.3")
    assert not path.exists()


@answered
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_log_that_cannot_be_written_stops_nothing(path, capsys, monkeypatch, damage):
    solve("1.3")
    if damage == "cut":
        path.write_text(path.read_text()[:30])
    else:
        monkeypatch.setenv("COURSE_LOG", str(path.parent / "gone" / "log.jsonl"))
    capsys.readouterr()
    solve("9.1")
    said = capsys.readouterr().out
    assert "Exercise 9.1 is solved." in said and "could not be written into the log" in said


@answered
def test_a_name_with_a_separator_of_lines_can_be_verified(path, monkeypatch):
    monkeypatch.setenv("COURSE_NAME", "Ada\N{LINE SEPARATOR}L.")
    solve("1.3")
    solve("9.1")
    assert [line[1] for line in log.verified(path, KEY)] == ["1.3", "9.1"]


def broken(lines: list[str]) -> dict[str, list[str]]:
    line = json.loads(lines[1])
    renamed = json.dumps({**line, "said": ["Bob", *line["said"][1:]]})
    return {
        "renamed": [lines[0], renamed, lines[2]],
        "left out": [lines[0], lines[2]],
        "moved": [lines[1], lines[0], lines[2]],
        "twice": [lines[0], lines[0]],
        "no line": [lines[0], "hello"],
        "no table": [lines[0], "3"],
    }


@pytest.mark.parametrize("how", ["renamed", "left out", "moved", "twice", "no line", "no table"])
def test_any_change_is_found_and_named(path, how, capsys):
    for exercise in ("1.1", "1.2", "1.3"):
        log.note(exercise)
    path.write_text("\n".join(broken(path.read_text().splitlines())[how]) + "\n")
    assert log.main([str(path), "--key", KEY]) == 1
    number = 1 if how == "moved" else 2
    assert f"line {number}: " in capsys.readouterr().err


def test_another_key_does_not_fit(path):
    log.note("1.1")
    with pytest.raises(ValueError, match="line 1: it was not written with this key"):
        log.verified(path, "of another class")
