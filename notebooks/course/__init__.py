"""What the notebooks of the course share: a trained model to look at, and the checks of the exercises.

``check("2.1", answer)`` says what is right about an answer and what is off, and never raises. The checks of notebook 2
are the functions ``check_1``, ``check_2``, ... of ``course/checks_2.py``; its solutions ``course/solutions/2_1.py``,
``2_2.py``, ... each define ``answer``.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dcbh_core import DCBH, Config, load_split, train

from . import log

Verdict = tuple[bool, str]  # is it right, and one sentence about what was looked at


class Unanswered(Exception):
    """The answer, or what it returned, is still ``...`` or None."""


def check(exercise: str, answer: Any) -> None:
    """Print what is right and what is off about the answer to an exercise ("2.1")."""
    try:
        found = list(verdicts(exercise, answer))
    except Unanswered:
        print(f"○ Exercise {exercise} waits for your answer: write it in place of the dots, and run both cells again.")
        return
    for right, sentence in found:
        print("✓" if right else "✗", sentence)
    if all(right for right, _ in found):
        print(f"Exercise {exercise} is solved.")
        log.note(exercise)


def verdicts(exercise: str, answer: Any) -> Iterator[Verdict]:
    """One verdict after the other, up to and with the first that is not right; an error in the answer is one, too.

    Raises:
        Unanswered: The answer is still the dots.
    """
    notebook, number = exercise.split(".")
    examine = getattr(importlib.import_module(f"course.checks_{notebook}"), f"check_{number}")
    try:
        for right, sentence in examine(_Answer(answer) if callable(answer) else _given(answer)):
            yield bool(right), sentence
            if not right:
                return
    except Unanswered:
        raise
    except Exception as error:  # whatever a beginner's code may do
        yield False, f"Your code stopped with {type(error).__name__}: {error}"


class _Answer:
    """A function that somebody wrote; it is unanswered while it returns nothing."""

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return _given(self.function(*arguments))


def _given(value: Any) -> Any:
    if value is None or value is ...:
        raise Unanswered
    return value


def is_number(value: Any) -> bool:
    """For checks: a finite number, and no truth value."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def ended(sentence: str) -> str:
    """For checks: with a full stop, unless it is a question."""
    return sentence if sentence.endswith("?") else sentence + "."


def trained(run_dir: str | Path, epochs: int | None = None, **fields: Any) -> DCBH:
    """The model of a run directory.

    Where there is none, a small one (ORL, a quarter of the paper's channels) is trained there first, in half a minute
    on a laptop.

    Args:
        run_dir: The run directory.
        epochs: Of the small model; None leaves it to the recipe.
        fields: Further fields of the small model's ``Config``.
    """
    saved = Path(run_dir) / "model"
    if not (saved / "config.json").exists():
        config = Config(width=0.25, epochs=epochs, **fields)
        train(config, load_split(config).training)[0].save(saved)
    return DCBH.load(saved)
