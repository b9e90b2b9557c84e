"""A graded assignment with values of its own for each student.

``python -m course.assignment new DIR --students FILE``, from ``notebooks/``, makes a notebook for each name in the file
(one a line) in ``DIR/students``, and in ``DIR/teacher`` what stays with the teacher: the secret key, what the kit
computes for each student, and the rubric. ``python -m course.assignment grade DIR SUBMISSIONS`` reads what students
hand in, one ``NAME.json`` each, which the last cell of their notebook writes. Nothing that a student wrote is run.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import math
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ablations.intervals import holm
from ablations.rankings import evaluation_of
from dcbh_core import search
from dcbh_core.heads import BlockHead
from dcbh_core.losses import moved_centers

TOLERANCE = 1e-3  # how far a number may be off, absolutely or as a share of the right one


@dataclass(frozen=True)
class Task:
    """A task with a student's values.

    Attributes:
        title: What it is about.
        text: What is asked, in Markdown.
        given: Python that defines the student's values.
        answer: What ``answer`` must hold, in words.
        expected: The right numbers; each counts alike.
        points: For all of them.
    """

    title: str
    text: str
    given: str
    answer: str
    expected: list[float]
    points: int


def distance(rng: np.random.Generator) -> Task:
    codes = rng.random((2, 48)) < rng.uniform(0.3, 0.5)
    query, face = (list(map(int, packed)) for packed in np.packbits(codes, axis=1))
    expected = search(codes[:1], codes[1:], k=1)[0][0, 0]
    text = "Two codes of 48 bits, each packed into six bytes. What is their Hamming distance?"
    return Task("Bits that differ", text, f"query = {query}\nface = {face}", "one number", [float(expected)], 10)


def ties(rng: np.random.Generator) -> Task:
    while True:
        distances = np.sort(rng.integers(0, 4, 10))
        right = rng.random(10) < 0.4
        mixed = [0 < right[distances == d].mean() < 1 for d in np.unique(distances)]
        if right.sum() >= 3 and sum(mixed) >= 2:
            break
    evaluation = evaluation_of(distances[None], right[None])
    expected = [float(ap[0]) for ap in (evaluation.ap_worst, evaluation.ap, evaluation.ap_best)]
    text = (
        "The distances of ten gallery faces to a query, and whether each shows the query's person. What is the average "
        "precision in the worst order of the ties, on average over all orders, and in the best order?"
    )
    given = f"distances = {distances.tolist()}\nright = {right.tolist()}"
    return Task("Ties", text, given, "three numbers: worst, expected, best", expected, 20)


def block_layer(rng: np.random.Generator) -> Task:
    size = int(rng.integers(3, 8))
    f = rng.normal(0, 1.5, (1, 4 * size)).clip(0).round(2)
    z = BlockHead(4, size)(torch.as_tensor(f))
    expected = [float(q) for q in torch.tanh(z)[0]]
    text = f"A descriptor of 4 bits with blocks of {size} entries. What are the four numbers q of the block head?"
    return Task("The block head", text, f"f = {f[0].tolist()}\nblock_size = {size}", "four numbers", expected, 15)


def centers(rng: np.random.Generator) -> Task:
    f, old = rng.normal(0, 2, (5, 2)).round(1), rng.normal(0, 2, (3, 2)).round(1)
    labels = np.array([0, 1, 0, 0, 1])[rng.permutation(5)]
    moved = moved_centers(torch.as_tensor(f), torch.as_tensor(labels), torch.as_tensor(old))
    text = (
        "Five descriptors of two numbers, the person on each, and the centres of three people. Where are the centres "
        "after DCBH has moved them once? One of the people is not in the batch."
    )
    given = f"f = {f.tolist()}\nlabels = {labels.tolist()}\ncenters = {old.tolist()}"
    return Task(
        "Centres that move", text, given, "six numbers, person by person", [float(x) for x in moved.ravel()], 15
    )


def strangers(rng: np.random.Generator) -> Task:
    n, radius = int(rng.integers(2, 99)) * 10 ** int(rng.integers(3, 7)), int(rng.integers(1, 5))
    bits = radius
    while n * sum(math.comb(bits, d) for d in range(radius + 1)) >= 2**bits:
        bits += 1
    within = n * sum(math.comb(64, d) for d in range(radius + 1)) / 2**64
    text = (
        f"A gallery holds {n:,} codes of strangers, drawn by coin tosses. How many bits are needed at least so that "
        f"fewer than one of them is expected within Hamming radius {radius} of a query? And how many are expected "
        "there at 64 bits?"
    )
    return Task("How long a code", text, f"n = {n}\nradius = {radius}", "two numbers", [float(bits), within], 15)


def together(rng: np.random.Generator) -> Task:
    p = np.sort(rng.uniform(0.3, 2.2, 8) * 0.05 / np.arange(8, 0, -1))[rng.permutation(8)].round(4)
    held = holm(p.tolist())
    text = (
        "The probabilities p of eight differences in one table. Which hold together by Holm's procedure at the level "
        "0.05? And which would look decided if each were taken alone?"
    )
    expected = [float(sum(held)), float((p <= 0.05).sum())]
    return Task(
        "Many comparisons",
        text,
        f"p = {p.tolist()}",
        "two numbers: how many hold, how many look decided",
        expected,
        10,
    )


TASKS: list[Callable[[np.random.Generator], Task]] = [distance, ties, block_layer, centers, strangers, together]

EXPERIMENTS = (
    '`head = "fc"` in place of the block head',
    "`center_weight = 0`",
    "`block_size = 3`",
    "`multi_scale = False`",
    "`augment = False`",
    '`objective = "softmax"`',
)
RUBRIC = """# Rubric of the experiment

15 points, three for each line: 3 if all of it is there, 2 with one fault, 1 with more, 0 if it is missing.

| what | 3 points mean |
| --- | --- |
| prediction | written down before the runs, with a direction and a reason that follows from how the method works |
| experiment | one thing changed, at least three seeds each, same queries; the command or suite is given and runs |
| figures | a table with mean, difference to the full model and interval; which question they answer |
| conclusion | says no more than the interval allows; *not shown* is not called *no effect* |
| doubt | names what else could explain the result, and what one would do next |

An outcome that contradicts the prediction costs nothing. A conclusion from one seed gets 0 in its line.
"""


def tasks(key: str, student: str) -> tuple[list[Task], str]:
    """A student's tasks, and what the experiment changes; the same key and name give the same values."""
    seed = hmac.new(key.encode(), student.encode(), hashlib.sha256).digest()
    rng = np.random.default_rng(np.frombuffer(seed, np.uint32))
    return [draw(rng) for draw in TASKS], EXPERIMENTS[int(rng.integers(len(EXPERIMENTS)))]


def sheet(student: str, file: str, given: Sequence[Task], experiment: str) -> Any:
    """A student's notebook; ``file`` is the name of what it hands in."""
    points = sum(task.points for task in given)
    cells = [
        new_markdown_cell(
            f"# Assignment of {student}\n\nThe values are yours alone. Everything that the course and the kit offer "
            "may be used; the cell that computes an answer has to be left in the notebook. Write the numbers into "
            f"`answers`, with at least four digits. {points} points for the numbers, 15 for the experiment. Hand in "
            f"this notebook and the file `{file}` that its last cell writes."
        ),
        new_code_cell("answers = {}"),
    ]
    for number, task in enumerate(given, 1):
        cells.append(
            new_markdown_cell(
                f"## {number}. {task.title} ({task.points} points)\n\n{task.text}\n\nAnswer: {task.answer}."
            )
        )
        cells.append(new_code_cell(f"{task.given}\n\nanswers[{number}] = None"))
    cells += [
        new_markdown_cell(
            f"## {len(given) + 1}. An experiment (15 points)\n\nDCBH on ORL with 24 bits, and the same with "
            f"{experiment}. What does the change do? Write down what you expect and why, *before* you run anything. "
            "Then do the runs with at least three seeds (a suite of your own), show the table, and say what follows "
            "and what does not. One page is enough."
        ),
        new_markdown_cell("*I expect ..., because ...*"),
        new_code_cell(
            "import json\n\ntext = json.dumps(answers, default=lambda value: value.tolist())  # NumPy's, too\n"
            f'with open("{file}", "w") as handed_in:\n    handed_in.write(text)'
        ),
    ]
    return new_notebook(cells=cells)


def new(directory: Path, students: Sequence[str]) -> None:
    """Make an assignment.

    Raises:
        ValueError: There are no students, or two of them would have the same file.
        FileExistsError: The directory holds something already.
    """
    files: dict[str, str] = {}
    for student in students:
        stem = re.sub(r"\W+", "_", student).strip("_").lower()
        if not stem:
            raise ValueError(f"{student!r} has no letter or digit to name a file by")
        if stem in files:
            raise ValueError(f"{files[stem]!r} and {student!r} would both have the file {stem}.ipynb")
        files[stem] = student
    if not files:
        raise ValueError("there are no students: write one name a line")
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty; an assignment is made in a new directory")
    key = secrets.token_hex(16)
    (directory / "students").mkdir(parents=True)
    (directory / "teacher").mkdir()
    expected = {}
    for stem, student in files.items():
        given, experiment = tasks(key, stem)
        nbformat.write(sheet(student, f"{stem}.json", given, experiment), directory / f"students/{stem}.ipynb")
        expected[stem] = {
            "student": student,
            "experiment": experiment,
            "tasks": [{"points": task.points, "expected": task.expected} for task in given],
        }
    (directory / "teacher/key.txt").write_text(key + "\n", "utf-8")
    (directory / "teacher/expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False), "utf-8")
    (directory / "teacher/rubric.md").write_text(RUBRIC, "utf-8")


def grade(directory: Path, submissions: Path) -> pd.DataFrame:
    """The points of each student for each task, with a note where something is odd.

    Raises:
        FileNotFoundError: The directory holds no assignment, or there is no directory of submissions.
    """
    kept = directory / "teacher/expected.json"
    if not kept.exists():
        raise FileNotFoundError(f"{directory} holds no assignment: {kept} is missing")
    if not submissions.is_dir():
        raise FileNotFoundError(f"there is no directory {submissions}")
    expected = json.loads(kept.read_text("utf-8"))
    rows = []
    for stem, own in expected.items():
        row: dict[str, Any] = {"student": own["student"]}
        try:
            answers = read(submissions / f"{stem}.json")
            note = ""
        except (OSError, ValueError) as error:
            answers, note = {}, str(error)
        notes = [note] if note else []
        for number, task in enumerate(own["tasks"], 1):
            answer = answers.get(str(number))
            row[f"task {number}"] = task["points"] * share(answer, task["expected"])
            others = [
                other["student"]
                for other in expected.values()
                if other is not own and share(answer, other["tasks"][number - 1]["expected"]) == 1
            ]
            # One or two whole numbers agree by chance; several decimals do not.
            if row[f"task {number}"] == 0 and len(task["expected"]) > 2 and others:
                notes.append(f"task {number} has the numbers of {', '.join(others)}")
        row["numbers"] = sum(value for name, value in row.items() if name.startswith("task "))
        row["experiment (15)"] = ""  # read and rated by the teacher
        row["note"] = "; ".join(notes)
        rows.append(row)
    strange = sorted({path.stem for path in submissions.glob("*.json")} - set(expected))
    for stem in strange:
        rows.append({"student": stem, "note": "nobody of this name has an assignment"})
    return pd.DataFrame(rows)


def read(path: Path) -> dict[str, Any]:
    """What a student handed in.

    Raises:
        FileNotFoundError: Nothing.
        ValueError: Something that is no table of answers.
    """
    if not path.exists():
        raise FileNotFoundError("handed in nothing")
    try:
        answers = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON") from error
    if not isinstance(answers, dict):
        raise ValueError(f"{path.name} holds no table of answers")
    return answers


def share(answer: Any, expected: Sequence[float]) -> float:
    """The share of the expected numbers that an answer has, place by place; 0 for anything that is no list of as many
    numbers."""
    answer = answer if isinstance(answer, list) else [answer]
    if len(answer) != len(expected):
        return 0.0
    right = [
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e300  # what no float holds cannot be compared
        and math.isclose(value, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE * min(1.0, abs(wanted)) or 1e-9)
        for value, wanted in zip(answer, expected, strict=True)
    ]
    return sum(right) / len(right)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course.assignment", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("new", help="make an assignment")
    making.add_argument("directory", type=Path, help="a new directory")
    making.add_argument("--students", type=Path, required=True, help="a text file, one name a line")
    grading = commands.add_parser("grade", help="grade what has been handed in")
    grading.add_argument("directory", type=Path, help="the directory of the assignment")
    grading.add_argument("submissions", type=Path, help="a directory with one NAME.json for each student")
    given = parser.parse_args(arguments)
    try:
        if given.command == "new":
            names = [line.strip() for line in given.students.read_text("utf-8").splitlines() if line.strip()]
            new(given.directory, names)
            print(f"{len(names)} notebooks in {given.directory / 'students'}; keep {given.directory / 'teacher'} back.")
        else:
            table = grade(given.directory, given.submissions)
            path = given.directory / "teacher/grades.csv"
            table.to_csv(path, index=False)
            print(table.fillna("").to_string(index=False))
            print(f"\nAlso in {path}; the experiment is yours to rate, by {given.directory / 'teacher/rubric.md'}.")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
