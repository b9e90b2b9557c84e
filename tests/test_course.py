"""The exercises of the course: each check says no to the empty exercise, and yes to the solution."""

import itertools
import json
import re
import runpy
from pathlib import Path

import course
import numpy as np
import pytest
import torch

from tests.conftest import answered

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


def sources(path: Path, kind: str) -> list[str]:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def exercises() -> dict[str, tuple[str, str]]:
    """Exercise -> the cell to be filled in, and the name of the answer in it."""
    found = {}
    for path in PATHS:
        cells = sources(path, "code")
        for before, cell in itertools.pairwise(cells):
            if call := re.fullmatch(r'check\("([\d.]+)", (\w+)\)', cell):
                found[call[1]] = (before, call[2])
    return found


EXERCISES = exercises()


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_every_notebook_has_two_exercises_of_its_own_number(path):
    number = str(int(path.stem[:2]))
    assert sum(exercise.split(".")[0] == number for exercise in EXERCISES) >= 2
    assert sum(re.search(r"(?m)^check\(", cell) is not None for cell in sources(path, "code")) == sum(
        exercise.split(".")[0] == number for exercise in EXERCISES
    )


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_check_says_no_to_the_empty_exercise(exercise, capsys):
    cell, name = EXERCISES[exercise]
    names: dict[str, object] = {"np": np, "torch": torch}
    exec(cell, names)
    course.check(exercise, names[name])
    assert capsys.readouterr().out.startswith(f"○ Exercise {exercise} waits")


@answered
@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_check_says_yes_to_the_solution(exercise):
    path = NOTEBOOKS / "course/solutions" / f"{exercise.replace('.', '_')}.py"
    found = list(course.verdicts(exercise, runpy.run_path(str(path))["answer"]))
    assert found
    assert all(right for right, _ in found), found


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("wrong", [0, "a word", lambda *_: 0, lambda *_: 1 / 0], ids=["0", "text", "zero", "error"])
def test_a_check_says_no_to_nonsense_and_does_not_raise(exercise, wrong, capsys):
    course.check(exercise, wrong)
    assert "✗" in capsys.readouterr().out


@answered
def test_every_solution_belongs_to_an_exercise():
    solved = {path.stem.replace("_", ".") for path in (NOTEBOOKS / "course/solutions").glob("*.py")}
    assert solved == set(EXERCISES)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_no_number_in_prose_is_typed(path):
    """Decimals and percentages come from code; formulas, code and citations may hold them."""
    for prose in sources(path, "markdown"):
        bare = re.sub(r"\$\$.*?\$\$|\$.*?\$|`[^`]*`|\]\([^)]*\)|[Ee]xercise \d\.\d", "", prose, flags=re.S)
        lines = [line for line in bare.splitlines() if not re.search(r"\b(19|20)\d\d\b", line)]  # a year: a citation
        assert not re.findall(r"\d+\.\d+|\d+ ?%|per ?cent", "\n".join(lines)), prose
