"""What the notebooks of the course share: the checks of the exercises, outcomes, and a trained model to look at.

``check("2.1", answer)`` says what is right about an answer and what is off, and never raises. The checks of notebook 2
are the functions ``check_1``, ``check_2``, ... of ``course/checks_2.py``; its solutions ``course/solutions/2_1.py``,
``2_2.py``, ... each define ``answer``. An answer may be of Python, NumPy or torch, in any precision: a check sees plain
numbers and NumPy arrays alone, and compares them by ``close``.

``outcome`` shows a sentence about what was measured on which the prose around it relies; ``make test-outcomes`` runs
the notebooks with another seed and in float32, and fails where one of them turns.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.display import Markdown, display

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
        try:
            log.note(exercise)
        except (OSError, ValueError, LookupError, TypeError) as error:
            print(f"It could not be written into the log: {error}")


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
    return _plain(value)


def _plain(value: Any) -> Any:
    """Scalars of NumPy and torch as Python's, tensors as arrays, also within tuples and lists; the rest as it is."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # NumPy has no bfloat16
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value)) if type(value) in (tuple, list) else value
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0 else value


def is_number(value: Any) -> bool:
    """For checks: a finite number, and no truth value."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def numbers(answer: Any, count: int) -> list[float] | None:
    """For checks: the numbers of a tuple, a list or an array of ``count``; None if it is something else."""
    if not isinstance(answer, tuple | list | np.ndarray) or np.shape(answer) != (count,):
        return None
    values = [_plain(value) for value in answer]
    return values if all(map(is_number, values)) else None


def close(value: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """For checks: has ``value`` the shape of ``right``, and is it right up to rounding, also in float32?

    Args:
        value: A number or an array.
        right: The same as it should be.
        tolerance: Largest difference, as a share of the largest number in ``right`` (if all are 0: as it is).
    """
    try:
        value, right = np.asarray(value, float), np.asarray(right, float)
    except (TypeError, ValueError):  # no numbers
        return False
    scale = np.abs(right).max(initial=0) or 1
    return value.shape == right.shape and bool((np.abs(value - right) <= tolerance * scale).all())


def ended(sentence: str) -> str:
    """For checks: with a full stop, unless it is a question."""
    return sentence if sentence.endswith("?") else sentence + "."


def outcome(name: str, answer: str, sentence: str) -> None:
    """Show a sentence that says how a measurement came out, and keep its answer in the metadata of the cell's output.

    For what the prose relies on: of two runs with other seeds, or in another precision, both must give one answer. What
    turns is no outcome: print its figures, and let the prose say that it is undecided.

    Args:
        name: Of the outcome, unique in its notebook.
        answer: How it came out, in a word ("yes").
        sentence: Markdown, with the figures.
    """
    display(Markdown(sentence), metadata={"outcome": {name: answer}})


def trained(run_dir: str | Path, epochs: int | None = None, **fields: Any) -> DCBH:
    """The model of a run directory.

    Where there is none, a small one (ORL, a quarter of the paper's channels) is trained there first, in half a minute
    on a laptop, and a line says so.

    Args:
        run_dir: The run directory.
        epochs: Of the small model; None leaves it to the recipe.
        fields: Further fields of the small model's ``Config``.
    """
    saved = Path(run_dir) / "model"
    if not (saved / "config.json").exists():
        print(f"There is no run in {run_dir} yet: training a small network there first, in half a minute to a minute.")
        config = Config(width=0.25, epochs=epochs, **fields)
        train(config, load_split(config).training)[0].save(saved)
    return DCBH.load(saved)
