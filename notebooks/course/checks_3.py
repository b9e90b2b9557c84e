"""Checks of notebook 3, the losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import Verdict, close, ended, is_number


def _batch(seed: int, n: int, people: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors (n, d), labels (n,) and centres (people, d); the last person is not in the batch."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.integers(people - 1, size=n), rng.standard_normal((people, d))


def check_1(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """The centre loss: answer(f (n, d), y (n,), c (people, d)) -> a number."""
    f, y, c = np.array([[3.0, 4.0]]), np.array([1]), np.array([[9.0, 9.0], [0.0, 0.0]])
    value = np.asarray(answer(f, y, c))
    hint = "" if value.ndim == 0 else ": sum over the faces and over the numbers of each descriptor"
    yield value.ndim == 0, ended(f"For one face you return one number; the shape is {value.shape}{hint}")
    hint = {
        25.0: "mind what stands in front of the sum",
        5.0: "is the distance squared in the formula?",
        2.5: "is the distance squared in the formula?",
        30.5: "that is the distance to the centre of person 0, and the label says 1",
        43.0: "each face has one centre, that of its own person; this adds up those of everybody",
        -12.5: "a cost grows with the distance",
    }.get(round(float(value), 6), "half of the squared distance to the centre of its own person, c[y]")
    good = close(value, 12.5)
    yield good, ended(f"One face at distance 5 from its centre costs {float(value):.6g}{'' if good else ': ' + hint}")
    f, y, c = _batch(0, 12, 5, 7)
    slow = sum(0.5 * sum((f[i, k] - c[y[i], k]) ** 2 for k in range(7)) for i in range(12))
    value = float(answer(f, y, c))
    hint = next(
        (
            why
            for wrong, why in (
                (slow / 12, "you take the mean over the batch, as one would today; the published term does not"),
                (slow / 84, "you take the mean over all numbers of all faces; look at the formula once more"),
                (slow / 7, "you take the mean over the numbers of a descriptor; a squared distance is their sum"),
                (slow / 5, "you divide by the number of people"),
            )
            if close(value, wrong)
        ),
        "is each face compared with the centre of its own person, and with no other?",
    )
    good = close(value, slow)
    yield good, ended(f"Twelve faces of four people together cost {value:.6g}{'' if good else ': ' + hint}")
    twice = float(answer(np.concatenate([f, f]), np.concatenate([y, y]), c))
    good = close(twice, 2 * slow)
    hint = "" if good else ": a sum over twice as many faces is twice as large"
    yield good, ended(f"The same batch written down twice costs {twice / slow:.4g} times as much{hint}")


def check_2(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """The centres' move: answer(f (n, d), y (n,), c (people, d)) -> new centres (people, d)."""
    f, y, c = np.array([[2.0, 0.0]]), np.array([0]), np.array([[0.0, 2.0], [5.0, 5.0]])
    given = c.copy()
    new = np.asarray(answer(f, y, c))
    good = new.shape == c.shape
    hint = "" if good else ": one row is asked for each person, whether in the batch or not"
    yield good, ended(f"For two people in two dimensions you return an array of shape {new.shape}{hint}")
    good = close(new[0], [1, 1])
    hint = {
        (2.0, 0.0): "that is the face; the old centre counts like one more face",
        (0.0, 2.0): "it has not moved",
        (2.0, 2.0): "the sum has to be divided by the number of those who count, the old centre among them",
        (1.0, -1.0): "the old centre is added, not taken away",
        (-1.0, 1.0): "the face is added, not taken away",
    }.get(tuple(new[0].tolist()), "centre (0, 2) and face (2, 0) count the same")
    where = f"A person with one face in the batch: the centre moves to {new[0].tolist()}"
    yield good, ended(f"{where}{'' if good else ': ' + hint}")
    good = close(new[1], [5, 5])
    hint = ": nothing was added to it, by what is it divided?" if close(new[1], [2.5, 2.5]) else ": it has to stay"
    hint = ": a division by 0? The old centre counts, too" if not np.isfinite(new[1]).all() else hint
    where = f"A person who is not in the batch: the centre is at {new[1].tolist()}"
    yield good, ended(f"{where}{'' if good else hint}")
    same = np.array_equal(c, given)
    hint = "" if same else ": work on a copy, as the gradients still need them"
    yield same, ended(f"The centres that were passed in {'are' if same else 'are no longer'} as they were{hint}")
    f, y, c = np.array([[3.0], [9.0]]), np.array([0, 0]), np.array([[0.0]])
    new = float(np.ravel(answer(f, y, c))[0])
    hint = {
        1.5: "the second face has been forgotten",
        4.5: "the second face has overwritten the first",
        5.25: "you move once for each face; both go in at once",
        6.0: "that is the mean of the faces, and the old centre has no say, or does not count as a face",
        3.0: "half of the way to the mean; with two faces the centre goes further",
        9.0: "that is the last face alone",
        12.0: "the sum has to be divided by the number of those who count",
    }.get(round(new, 6), "does each face count, and the old centre, once?")
    good = close(new, 4)
    where = f"A person at 0 with faces at 3 and 9: the centre moves to {new:.6g}"
    yield good, ended(f"{where}{'' if good else ': ' + hint}")
    f, y, c = _batch(1, 40, 6, 3)
    slow = np.array(
        [(c[p] + sum((f[i] for i in range(40) if y[i] == p), np.zeros(3))) / (1 + (y == p).sum()) for p in range(6)]
    )
    new = np.asarray(answer(f, y, c))
    off = [p for p in range(6) if new.shape != slow.shape or not close(new[p], slow[p], 1e-4)]
    hint = ""
    if off:
        hint = (
            f": person {off[0]} has {(y == off[0]).sum()} faces in the batch; are all of them in the sum, and no other?"
        )
    where = f"In a batch of forty faces of six people, {6 - len(off)} of 6 centres are where they should be"
    yield not off, ended(f"{where}{hint}")


def check_3(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """The weight that keeps the balance: answer(weight, batch, new_batch, stretch) -> a weight."""
    value = answer(1e-4, 256, 256, 1.0)
    yield is_number(value), "For a weight, two sizes of batch and a stretch you return a number."
    yield close(value, 1e-4), f"Nothing has changed: the weight was 1e-4, yours is {value:.6g}."
    for batch, new_batch, stretch, right, what in (
        (256, 64, 1.0, 4e-4, "From batch 256 to 64"),
        (256, 64, 2.0, 1e-4, "From batch 256 to 64, with descriptors twice as long"),
        (100, 100, 0.1, 1e-2, "The same batch, descriptors a tenth as long"),
        (64, 96, 3.0, 1e-4 * 64 / 96 / 9, "From batch 64 to 96, with descriptors three times as long"),
    ):
        value = answer(1e-4, batch, new_batch, stretch)
        size = batch / new_batch
        hint = next(
            (
                why
                for wrong, why in (
                    (right * stretch**2, "the stretch has to have a say, too"),
                    (right * stretch, "how does a *squared* distance grow with the length?"),
                    (right * stretch**4, "the other way round: a longer descriptor costs more already"),
                    (right / size, "the size of the batch has to have a say, too"),
                    (right / size**2, "the other way round: a larger batch gives a larger sum already"),
                )
                if close(value, wrong)
            ),
            "weight times centre loss has to stay what it was",
        )
        good = close(value, right)
        yield good, ended(f"{what}: {value / 1e-4:.6g} times the old weight{'' if good else ': ' + hint}")


def check_4(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """The lowest quantisation term: answer(block_size, ones, target) -> a number."""
    one = math.tanh(0.5)

    def zero(size: int) -> float:
        return math.tanh(0.5 - 1 / size)

    value = answer(6, 1.0, 0.5)
    yield is_number(value), "For a block size, a share of ones and a target you return a number."
    good = close(value, 0.5 - one, 1e-4)
    hint = ": that is z; q is its hyperbolic tangent" if close(value, 0) else ": how far does q reach?"
    yield good, ended(f"Blocks of six, ones only, target 0.5: at best {value:.6f}{'' if good else hint}")
    value = answer(6, 0.0, 0.5)
    good = close(value, 0.5 - zero(6), 1e-4)
    hint = ": how small can the largest of six shares be, and what is |q| there?"
    yield good, ended(f"Blocks of six, zeros only, target 0.5: at best {value:.6f}{'' if good else hint}")
    value, right = answer(6, 0.25, 0.5), 0.25 * (0.5 - one) + 0.75 * (0.5 - zero(6))
    good = close(value, right, 1e-4)
    hint = ": it is a mean over the bits, a quarter of which are ones"
    yield good, ended(f"Blocks of six, a quarter of them ones, target 0.5: at best {value:.6f}{'' if good else hint}")
    value, right = answer(1000, 0.0, 0.5), 0.5 - zero(1000)
    hint = ": in a large block the largest share can be next to nothing"
    good = close(value, right, 1e-4)
    yield good, ended(f"Blocks of a thousand, zeros only: at best {value:.6f}{'' if good else hint}")
    value = answer(6, 0.5, 0.3)
    good = close(value, 0)
    hint = ": this target lies within reach on both sides; can |q| be equal to it?"
    yield good, ended(f"Target 0.3: at best {value:.6f}{'' if good else hint}")
    value, right = answer(6, 0.5, 0.4), 0.5 * (0.4 - zero(6))
    good = close(value, right, 1e-4)
    hint = ": on which side is this one within reach, and on which not?"
    yield good, ended(f"Target 0.4, half of the bits ones: at best {value:.6f}{'' if good else hint}")
    value, right = answer(3, 0.5, 1.0), 1 - 0.5 * (one + zero(3))
    good = close(value, right, 1e-4)
    yield good, f"Target 1, blocks of three, half of the bits ones: at best {value:.6f}."
