"""The lessons fit into 90 minutes, and what they name is there."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PAGE = (NOTEBOOKS / "teaching/lessons.md").read_text("utf-8")
LESSONS = {part.partition("\n")[0]: part for part in re.split(r"(?m)^## ", PAGE)[1:]}
ROW = re.compile(r"(?m)^\| (\d+) \| (.+?) \| (.*?) ?\|$")


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_takes_90_minutes(lesson):
    minutes = [int(found) for found, _, _ in ROW.findall(LESSONS[lesson])]
    assert len(minutes) == LESSONS[lesson].count("\n| ") - 2  # every row counts
    assert sum(minutes) == 90


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_sections_and_exercises_of_a_lesson_are_there(lesson):
    missing = []
    for _, what, place in ROW.findall(LESSONS[lesson]):
        for path, named in re.findall(r"\]\(\.\./(\S+?\.ipynb)\):? ?(.*)", place):
            cells = nbformat.read(NOTEBOOKS / path, as_version=4).cells
            prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
            headings = re.findall(r"(?m)^#+ (.+?)\s*$", prose)
            missing += [name for name in re.findall(r"\*(.+?)\*", named) if name not in headings]
            exercises = re.findall(r"exercises? (\d+\.\d)", what)
            missing += [one for one in exercises if not any(title.startswith(f"Exercise {one}") for title in headings)]
    assert missing == []
