"""The exercises of the course: each check says no to the empty exercise, and yes to the solution."""

import itertools
import json
import math
import re
import runpy
from pathlib import Path

import course
import numpy as np
import pytest
import torch

from tests.conftest import answered

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))


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
    found = list(course.verdicts(exercise, solution(exercise)))
    assert found
    assert all(right for right, _ in found), found


def solution(exercise: str) -> object:
    return runpy.run_path(str(NOTEBOOKS / "course/solutions" / f"{exercise.replace('.', '_')}.py"))["answer"]


def in_float32(value):
    """Floats and arrays of them in single precision, also within tuples; the rest as it is."""
    if isinstance(value, tuple | list):
        return type(value)(map(in_float32, value))
    return np.float32(value) if np.asarray(value).dtype == float else value


def in_torch(value):
    """Numbers and arrays as tensors that remember where they come from; the rest as it is."""
    array = np.asarray(in_float32(value))
    if isinstance(value, tuple | list) or array.dtype.kind not in "iuf":
        return value
    return torch.from_numpy(array).requires_grad_(array.dtype.kind == "f")


@pytest.mark.parametrize("exercise", sorted(EXERCISES.keys() - {"10.2"}))  # whose answer is judged by its gradient
@pytest.mark.parametrize("cast", [in_float32, in_torch])
def test_a_check_takes_the_solution_in_single_precision_and_as_a_tensor(exercise, cast):
    answer = solution(exercise)
    cast_answer = (lambda *given: cast(answer(*given))) if callable(answer) else cast(answer)
    found = list(course.verdicts(exercise, cast_answer))
    assert all(right for right, _ in found), found


def half_way(f, y, c):
    """Tempting and wrong: a repeated label writes twice."""
    new = c.copy()
    new[y] = (c[y] + f) / 2
    return new


def exactly(n, r):
    """How many bits for less than one stranger at distance r itself."""
    b = max(r, 1)
    while n * math.comb(b, r) >= 2**b:
        b += 1
    return b


def softmax(x, axis):
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def rate(warm_up=lambda step, steps, warm: (step + 1) / warm, length=None):
    """The learning rate of exercise 4.2, with another warm-up, or a cosine of a fixed length."""

    def factor(step, steps, warm):
        if step < warm:
            return warm_up(step, steps, warm)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (length or steps - warm)))

    return factor


def a_step_without_zero_grad(network, optimizer, images, labels):
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


WRONG = [
    ("1.1", lambda query, gallery: (query != gallery).sum(1), "number of bytes that differ"),
    ("1.1", lambda query, gallery: np.bitwise_count(query ^ gallery), "one number for each byte"),
    ("1.1", lambda query, gallery: np.bitwise_count(query ^ gallery).sum(), "not over all codes"),
    ("1.1", lambda query, gallery: np.bitwise_count(~(query ^ gallery)).sum(1), "bits that agree"),
    ("1.1", lambda query, gallery: (query ^ gallery).sum(1), "ones are to be counted"),
    ("1.1", lambda query, gallery: np.bitwise_count(query ^ gallery)[:, 0], "first byte alone"),
    ("1.1", lambda query, gallery: np.bitwise_count(query ^ gallery).sum(1, dtype=np.uint8), "fit into a byte"),
    ("1.2", exactly, "exactly r"),
    ("1.2", lambda n, r: n.bit_length(), "all but the equal codes"),
    ("2.1", lambda f, k: softmax(f.reshape(len(f), -1, k), 2).max(2) - 0.5, "tanh is missing"),
    ("2.1", lambda f, k: np.tanh(softmax(f.reshape(len(f), k, -1), 1).max(1) - 0.5), "neighbours"),
    ("2.1", lambda f, k: np.tanh(softmax(f.reshape(len(f), -1, k), 2).min(2) - 0.5), "smallest share"),
    ("2.1", lambda f, k: 1.0 * (softmax(f.reshape(len(f), -1, k), 2).max(2) >= 0.5), "these are the bits"),
    ("2.1", lambda f, k: np.tanh(f.reshape(len(f), -1, k).max(2) - 0.5), "softmax is missing"),
    ("3.1", lambda f, y, c: ((f - c[y]) ** 2).sum(), "in front of the sum"),
    ("3.1", lambda f, y, c: 0.5 * ((f - c[y]) ** 2).sum(1), "sum over the faces"),
    ("3.1", lambda f, y, c: 0.5 * ((f - c[0]) ** 2).sum(), "centre of person 0"),
    ("3.1", lambda f, y, c: 0.5 * ((f - c[y]) ** 2).sum() / len(f), "mean over the batch"),
    ("3.2", half_way, "overwritten"),
    ("3.2", lambda f, y, c: c, "has not moved"),
    ("3.2", lambda f, y, c: (c + np.eye(len(c))[y].T @ f) / 2, "by what is it divided"),
    ("3.2", lambda f, y, c: c[y], "one row is asked for each person"),
    ("3.3", lambda weight, batch, new_batch, stretch: weight * batch / new_batch, "stretch has to have a say"),
    ("3.3", lambda weight, batch, new_batch, stretch: weight * batch / new_batch / stretch, "*squared*"),
    ("3.3", lambda weight, batch, new_batch, stretch: weight * new_batch / batch, "other way round"),
    (
        "3.4",
        lambda size, ones, target: ones * (target - np.tanh(0.5)) + (1 - ones) * (target - 0.3),
        "the largest of six",
    ),
    ("4.1", lambda bits, size, width, people: 8_039_140 - 2 * 2688, "scale and shift"),
    ("4.2", rate(lambda step, steps, warm: 0.1 + 0.9 * step / (warm - 1)), "a tenth only where warm is 10"),
    ("4.2", rate(lambda step, steps, warm: step / warm + 0.1), "a tenth only where warm is 10"),
    ("4.2", lambda step, steps, warm: rate()(step, 100, 10), "a tenth only where warm is 10"),
    ("4.2", rate(lambda step, steps, warm: 1 / warm + 0.1 * step), "rise in equal parts: 0.250, 0.350"),
    ("4.2", rate(length=90), "steps - warm = 46"),
    ("4.3", a_step_without_zero_grad, "adds new gradients"),
]


@pytest.mark.parametrize(("exercise", "wrong", "hint"), WRONG, ids=[f"{e}, {hint}" for e, _, hint in WRONG])
def test_a_check_says_what_a_wrong_answer_has_done(exercise, wrong, hint):
    *before, (right, sentence) = course.verdicts(exercise, wrong)
    assert not right and hint in sentence, sentence
    assert all(good and hint not in line for good, line in before)


@pytest.mark.parametrize(
    ("value", "right", "expected"),
    [
        (np.float32(0.1), 0.1, True),
        (0.1001, 0.1, False),
        ([1e-9, 1.0], [0.0, 1.0], True),  # a share of the largest number, so that what should be 0 may be nearly so
        ([1e-3, 1.0], [0.0, 1.0], False),
        ([1.0], 1.0, False),
        (math.nan, 1.0, False),
        ("one", 1.0, False),
    ],
)
def test_close_is_up_to_rounding_in_single_precision_and_no_further(value, right, expected):
    assert course.close(value, right) is expected


def test_numbers_come_from_a_tuple_a_list_or_an_array():
    assert course.numbers((1, 2.0), 2) == course.numbers([1, 2], 2) == course.numbers(np.array([1, 2]), 2) == [1, 2]
    assert (
        course.numbers((1, 2, 3), 2) is None and course.numbers((1, "two"), 2) is None and course.numbers(1, 2) is None
    )


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
        address = r"\[(?:doi|arXiv):[^\]]*|\]\([^)]*\)"  # as a citation shows it, and where a link leads
        bare = re.sub(rf"\$\$.*?\$\$|\$.*?\$|`[^`]*`|{address}|[Ee]xercise \d+\.\d", "", prose, flags=re.S)
        lines = [line for line in bare.splitlines() if not re.search(r"\b(19|20)\d\d\b", line)]  # a year: a citation
        assert not re.findall(r"\d+\.\d+|\d+ ?%|per ?cent", "\n".join(lines)), prose
