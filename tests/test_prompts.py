"""Whatever a notebook asks one to look at or to try has a model answer, and no answer is left over."""

from pathlib import Path

import nbformat
import pytest
from course import prompts
from nbformat.v4 import new_markdown_cell, new_notebook

from tests.conftest import answered

PATHS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("[0-9]*.ipynb"))
ANSWERS = prompts.answers()


@answered
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_every_prompt_has_an_answer_and_every_answer_a_prompt(path):
    asked = prompts.prompts(nbformat.read(path, as_version=4))
    quoted = [first for first, _ in ANSWERS.get(path.stem, [])]
    unanswered = [prompt for prompt in asked if not any(prompt.startswith(first) for first in quoted)]
    left_over = [first for first in quoted if not any(prompt.startswith(first) for prompt in asked)]
    assert (unanswered, left_over) == ([], [])


@answered
def test_every_answer_is_of_a_notebook_that_there_is_and_says_something():
    assert set(ANSWERS) <= {path.stem for path in PATHS}
    for answers in ANSWERS.values():
        assert all(len(answer) > 40 for _, answer in answers)
        assert len({first for first, _ in answers}) == len(answers)


def test_prompts_are_what_leads_a_paragraph_in_italics_and_what_is_to_be_tried():
    cell = new_markdown_cell(
        "*Look at `this`\nand that:* it is so.\n\n**Not this.** *nor this*\n\n*Hint: no.*\n\n*Count.*\n\n"
        "- no item\n\n## More to try\n\n- **One.** Set `a = 1`\n  now.\n- Two.\n\n## To read\n\n- A book."
    )
    content = new_notebook(cells=[cell, new_markdown_cell("- nor this")])
    assert prompts.prompts(content) == ["Look at this and that:", "Count.", "One. Set a = 1 now.", "Two."]


def test_answers_are_read_by_notebook_and_prompt(tmp_path):
    page = tmp_path / "answers.md"
    page.write_text(
        "# Title\n\n## 01_a\n\n> Look at `this`\n\nSo.\n\nAnd so.\n\n> Two\n> lines\n\nYes.\n\n## 02_b\n\n> X\n\nNo.\n"
    )
    assert prompts.answers(page) == {
        "01_a": [("Look at this", "So.\n\nAnd so."), ("Two lines", "Yes.")],
        "02_b": [("X", "No.")],
    }
    assert prompts.answers(tmp_path / "none.md") == {}
