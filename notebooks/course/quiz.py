"""Questions to find out whether a notebook has been understood, with answers: ``quiz.yaml``, shown by the book.

``python -m course.quiz`` prints all questions as Markdown, for a sheet of paper; ``--answers`` adds the answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ablations.pages import markdown_to_html

QUESTIONS = Path(__file__).parent / "quiz.yaml"


@dataclass(frozen=True)
class Question:
    """One question with its choices.

    Attributes:
        question: The question, in Markdown.
        choices: What may be answered.
        right: The place of the right one among them, from 0.
        why: A sentence or two on why.
    """

    question: str
    choices: tuple[str, ...]
    right: int
    why: str


def read(path: Path = QUESTIONS) -> dict[str, list[Question]]:
    """The questions of each notebook, by the stem of its file.

    Raises:
        ValueError: A question has not exactly one right choice (the one that begins with ``+``).
    """
    found: dict[str, list[Question]] = {}
    for notebook, questions in yaml.safe_load(path.read_text("utf-8")).items():
        found[notebook] = []
        for entry in questions:
            right = [place for place, choice in enumerate(entry["choices"]) if choice.startswith("+ ")]
            if len(right) != 1:
                raise ValueError(
                    f"{path.name}, {notebook}: {entry['question']!r} has {len(right)} right choices, not 1"
                )
            choices = tuple(choice.removeprefix("+ ") for choice in entry["choices"])
            found[notebook].append(Question(entry["question"], choices, right[0], entry["why"]))
    return found


def html(questions: Sequence[Question]) -> str:
    """The questions as a section of a page, each with its answer folded; empty without questions."""
    if not questions:
        return ""
    parts = ['<section class="quiz"><h2 id="Test-yourself">Test yourself</h2>']
    for question in questions:
        choices = "".join(f"<li>{_inline(choice)}</li>" for choice in question.choices)
        answer = f"<b>{_letter(question)}</b> {_inline(question.why)}"
        parts.append(
            f"<p>{_inline(question.question)}</p><ol>{choices}</ol><details><summary>Answer</summary>{answer}</details>"
        )
    return "".join([*parts, "</section>"])


def markdown(notebooks: dict[str, list[Question]], answers: bool) -> str:
    """All questions as Markdown, with or without their answers."""
    lines = []
    for notebook, questions in notebooks.items():
        lines.append(f"## {notebook}")
        for number, question in enumerate(questions, 1):
            lines.append(f"{number}. {question.question}")
            lines += [f"    {'abcdef'[place]}) {choice}" for place, choice in enumerate(question.choices)]
            if answers:
                lines.append(f"    **{_letter(question)}** {question.why}")
    return "\n\n".join(lines) + "\n"


def _letter(question: Question) -> str:
    return f"{'abcdef'[question.right]})"


def _inline(text: str) -> str:
    return markdown_to_html(text).strip().removeprefix("<p>").removesuffix("</p>")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the questions of the quiz as Markdown.")
    parser.add_argument("--answers", action="store_true", help="with the answers")
    print(markdown(read(), parser.parse_args().answers), end="")
