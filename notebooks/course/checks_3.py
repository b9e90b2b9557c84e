"""Checks of notebook 3, the losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import Verdict, ended, is_number


def _batch(seed: int, n: int, people: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors (n, d), labels (n,) and centres (people, d); the last person is not in the batch."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.integers(people - 1, size=n), rng.standard_normal((people, d))


def check_1(answer: Callable[..., Any]) -> Iterator[Verdict]:
    f, y, c = np.array([[3.0, 4.0]]), np.array([1]), np.array([[9.0, 9.0], [0.0, 0.0]])
    value = np.asarray(answer(f, y, c))
    yield value.ndim == 0, f"For one face you return one number; the shape is {value.shape}."
    hint = {0.0: "", 25.0: ": mind what stands in front of the sum", 5.0: ": is the distance squared in the formula?"}
    hint_of_value = hint.get(round(float(value), 6), "")
    yield (
        math.isclose(value, 12.5),
        ended(f"One face at distance 5 from its centre costs {float(value):g}{hint_of_value}"),
    )
    f, y, c = _batch(0, 12, 5, 7)
    slow = sum(0.5 * sum((f[i, k] - c[y[i], k]) ** 2 for k in range(7)) for i in range(12))
    value = float(answer(f, y, c))
    hint_of_value = ""
    if math.isclose(value, slow / 12):
        hint_of_value = ": you take the mean over the batch, as one would today; the published term does not"
    elif math.isclose(value, slow / 84):
        hint_of_value = ": you take the mean over all numbers of all faces; look at the formula once more"
    yield math.isclose(value, slow), ended(f"Twelve faces of four people together cost {value:.3f}{hint_of_value}")
    twice = float(answer(np.concatenate([f, f]), np.concatenate([y, y]), c))
    yield math.isclose(twice, 2 * slow), f"The same batch written down twice costs {twice / slow:.2f} times as much."


def check_2(answer: Callable[..., Any]) -> Iterator[Verdict]:
    f, y, c = np.array([[2.0, 0.0]]), np.array([0]), np.array([[0.0, 2.0], [5.0, 5.0]])
    given = c.copy()
    new = np.asarray(answer(f, y, c))
    yield new.shape == c.shape, f"For two people in two dimensions you return an array of shape {new.shape}."
    yield np.allclose(new[0], [1, 1]), f"A person with one face in the batch: the centre moves to {new[0].tolist()}."
    yield np.allclose(new[1], [5, 5]), f"A person who is not in the batch: the centre is at {new[1].tolist()}."
    same = np.array_equal(c, given)
    yield same, f"The centres that were passed in {'are' if same else 'are no longer'} as they were."
    f, y, c = np.array([[3.0], [9.0]]), np.array([0, 0]), np.array([[0.0]])
    new = float(np.asarray(answer(f, y, c))[0, 0])
    hint = {
        4.0: "",
        1.5: "; the second face has been forgotten",
        4.5: "; the second face has overwritten the first",
        6.0: "; that is the mean of the faces, and the old centre has no say",
        9.0: "; that is the last face alone",
    }.get(new, "; does each face count, and the old centre, once?")
    yield math.isclose(new, 4.0), f"A person at 0 with faces at 3 and 9: the centre moves to {ended(f'{new:g}{hint}')}"
    f, y, c = _batch(1, 40, 6, 3)
    slow = np.array(
        [(c[p] + sum((f[i] for i in range(40) if y[i] == p), np.zeros(3))) / (1 + (y == p).sum()) for p in range(6)]
    )
    new = np.asarray(answer(f, y, c))
    off = np.flatnonzero(~np.isclose(new, slow).all(1)) if new.shape == slow.shape else np.arange(6)
    yield (
        len(off) == 0,
        f"In a batch of forty faces of six people, {6 - len(off)} of 6 centres are where they should be.",
    )


def check_3(answer: Any) -> Iterator[Verdict]:
    three = isinstance(answer, tuple | list) and len(answer) == 3 and all(is_number(value) for value in answer)
    yield three, "The answer is a tuple of three numbers."
    center, entropy, weight = answer
    hint = {2.0: ": a square root would be right if the faces pulled in unrelated directions", 16.0: ": once is enough"}
    hint_of_value = "" if center == 4 else hint.get(float(center), ": how many times as many faces add their share?")
    yield (
        math.isclose(center, 4),
        ended(f"(a) You say that the centre loss's gradient grows by a factor of {center:g}{hint_of_value}"),
    )
    hint_of_value = "" if entropy == 1 else ": a mean divides by what the sum grew by"
    yield (
        math.isclose(entropy, 1),
        ended(f"(b) You say that the cross-entropy's gradient grows by a factor of {entropy:g}{hint_of_value}"),
    )
    ratio = weight / 1e-4
    hint_of_value = ""
    if not math.isclose(ratio, 4):
        hint_of_value = (
            ": the other way round" if math.isclose(ratio, 0.25) else ": weight times gradient has to stay the same"
        )
    yield (
        math.isclose(ratio, 4),
        ended(f"(c) Your weight for batch 64 is {ratio:g} times the one for batch 256{hint_of_value}"),
    )


def check_4(answer: Callable[..., Any]) -> Iterator[Verdict]:
    value = answer(6, 1.0)
    yield is_number(value), "For a block size and a share of ones you return a number."
    hint = ""
    if not math.isclose(value, 0.5 - math.tanh(0.5), abs_tol=1e-6):
        hint = (
            ": that is z; q is its hyperbolic tangent"
            if math.isclose(value, 0, abs_tol=1e-9)
            else ": how far does q reach?"
        )
    yield (
        math.isclose(value, 0.5 - math.tanh(0.5), abs_tol=1e-6),
        ended(f"Blocks of six, ones only: at best {value:.4f}{hint}"),
    )
    zero = 0.5 - math.tanh(0.5 - 1 / 6)
    value = answer(6, 0.0)
    hint = (
        ""
        if math.isclose(value, zero, abs_tol=1e-6)
        else ": how small can the largest of six shares be, and what is |q| there?"
    )
    yield math.isclose(value, zero, abs_tol=1e-6), ended(f"Blocks of six, zeros only: at best {value:.4f}{hint}")
    mixed = 0.25 * (0.5 - math.tanh(0.5)) + 0.75 * zero
    value = answer(6, 0.25)
    yield math.isclose(value, mixed, abs_tol=1e-6), f"Blocks of six, a quarter of them ones: at best {value:.4f}."
    three, large = answer(3, 0.0), answer(1000, 0.0)
    right = math.isclose(three, 0.5 - math.tanh(1 / 6), abs_tol=1e-6) and math.isclose(
        large, 0.5 - math.tanh(0.499), abs_tol=1e-6
    )
    yield right, f"Zeros cost at best {three:.4f} in blocks of three and {large:.4f} in blocks of a thousand."
