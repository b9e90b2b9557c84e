"""The quiz: every notebook has one, each question has one right choice, and the page folds the answers."""

import re
from pathlib import Path

import pytest
from course import quiz

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("[0-9]*.ipynb"))
QUESTIONS = quiz.read()


@pytest.mark.parametrize("notebook", [path.stem for path in NOTEBOOKS])
def test_a_notebook_has_three_to_five_questions(notebook):
    assert 3 <= len(QUESTIONS[notebook]) <= 5


def test_no_place_among_the_choices_is_right_too_often():
    places = [question.right for questions in QUESTIONS.values() for question in questions]
    assert max(map(places.count, set(places))) < 2 / 3 * len(places)


@pytest.mark.parametrize("choices", ["[a, b]", "['+ a', '+ b']"])
def test_a_question_without_one_right_choice_is_an_error(tmp_path, choices):
    (tmp_path / "quiz.yaml").write_text(f"01_faces:\n  - {{question: 'Why?', choices: {choices}, why: So.}}\n")
    with pytest.raises(ValueError, match=r"quiz.yaml, 01_faces: 'Why\?' has [02] right choices, not 1"):
        quiz.read(tmp_path / "quiz.yaml")


QUESTION = quiz.Question("Is 1 < 2?", ("no", "yes, `1 < 2`"), 1, "By order.")


def test_the_page_folds_the_answer_and_shows_what_is_written():
    page = quiz.html([QUESTION])
    before, answer = page.split("<details>")
    assert "b)" not in before and "By order" not in before
    assert "<b>b)</b> By order." in answer
    assert "Is 1 &lt; 2?" in page and "<code>1 &lt; 2</code>" in page
    assert quiz.html([]) == ""


def test_the_sheet_has_the_answers_when_it_is_asked_for_them():
    without, answers = (quiz.markdown({"01_faces": [QUESTION]}, given) for given in (False, True))
    assert "By order." not in without
    assert "**b)** By order." in answers
    assert re.findall(r"^ {4}[ab]\) ", without, re.M) == ["    a) ", "    b) "]
