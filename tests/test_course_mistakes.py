"""Exercises of notebooks 5 to 10: what a beginner may write instead is refused, and told why; types do not matter."""

import math
import runpy
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import course
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from dcbh_core import Head

SOLUTIONS = Path(__file__).resolve().parent.parent / "notebooks/course/solutions"


def solution(exercise: str) -> Any:
    return runpy.run_path(str(SOLUTIONS / f"{exercise.replace('.', '_')}.py"))["answer"]


def ap(right: Any) -> float:
    right = np.asarray(right, bool)
    return float((right.cumsum() / np.arange(1, len(right) + 1))[right].mean())


def orders(before: np.ndarray, tie: np.ndarray) -> list[float]:
    return [ap([*before, *order]) for order in permutations(tie)]


def fractions(before: np.ndarray, tie: np.ndarray) -> float:
    shared = np.concatenate([before, np.full(len(tie), tie.mean())])
    return float((shared * shared.cumsum() / np.arange(1, len(shared) + 1)).sum() / shared.sum())


def agreeing(codes: np.ndarray) -> np.ndarray:
    agree = (codes[:, :, None] == codes[:, None, :]).mean(0)
    return np.triu(np.maximum(agree, 1 - agree), 1)


def of_kept_bits(codes: np.ndarray, limit: float) -> list[bool]:
    marked: list[bool] = []
    for bit in range(codes.shape[1]):
        kept = [i for i in range(bit) if not marked[i]]
        marked.append(any(agreeing(codes)[i, bit] >= limit for i in kept))
    return marked


def correlated(codes: np.ndarray, limit: float) -> np.ndarray:
    return (np.triu(np.abs(np.corrcoef(codes.T.astype(float))), 1) >= limit).any(0)


def participation(matrix: np.ndarray) -> float:
    return float(np.trace(matrix) ** 2 / (matrix**2).sum())


def over_people(a: np.ndarray, b: np.ndarray, people: np.ndarray, ddof: int = 1, quantile: float = 0.975) -> Any:
    means = np.array([(b - a)[people == person].mean() for person in np.unique(people)])
    n = len(means)
    return means.mean(), stats.t.ppf(quantile, n - 1) * means.std(ddof=ddof) / np.sqrt(n)


def for_four_people(freedom: int | None = None, n: int | None = None) -> Callable[..., Any]:
    """Over people, with degrees of freedom or a number of people that are written down and not counted."""

    def answer(a: np.ndarray, b: np.ndarray, people: np.ndarray) -> Any:
        means = np.array([(b - a)[people == person].mean() for person in np.unique(people)])
        quantile = stats.t.ppf(0.975, freedom or len(means) - 1)
        return means.mean(), quantile * means.std(ddof=1) / np.sqrt(n or len(means))

    return answer


def persons_0_to_3(a: np.ndarray, b: np.ndarray, people: np.ndarray) -> Any:
    return over_people(a[people < 4], b[people < 4], people[people < 4])


def by_interval(a: np.ndarray, b: np.ndarray, people: np.ndarray) -> Any:
    means = np.array([(b - a)[people == person].mean() for person in np.unique(people)])
    low, high = stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means))
    return means.mean(), (high - low) / 2


def stepping_down(
    bound: Callable[[float, int, int], float] = lambda alpha, rank, m: alpha / (m + 1 - rank),
    holds: Callable[[float, float], bool] = lambda value, bound: value <= bound,
    stop: bool = True,
) -> Callable[[list[float], float], list[bool]]:
    """From the smallest on, of rank 1, until one does not hold: Holm's procedure, or nearly."""

    def answer(p: list[float], alpha: float) -> list[bool]:
        held = [False] * len(p)
        for rank, index in enumerate(np.argsort(p), 1):
            if holds(p[index], bound(alpha, rank, len(p))):
                held[index] = True
            elif stop:
                break
        return held

    return answer


def found_by_value(p: list[float], alpha: float) -> list[bool]:
    held = [False] * len(p)
    for rank, value in enumerate(sorted(p)):
        if value > alpha / (len(p) - rank):
            break
        held[p.index(value)] = True
    return held


def holm_adjusted(p: list[float], alpha: float) -> torch.Tensor:
    """Right: probabilities that are made larger, in single precision, against alpha itself."""
    values, order = torch.tensor(p).sort()
    adjusted = (values * torch.arange(len(p), 0, -1)).cummax(0).values
    return (adjusted <= alpha)[order.argsort()]


def luck(k: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).standard_normal((50_000, k)))


class MeanOfBlocks(Head):
    relu = False

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        return f.unflatten(1, (self.bits, self.size)).mean(2)


class BalancedFaces(MeanOfBlocks):
    def forward(self, f):
        z = super().forward(f)
        return z - z.mean(1, keepdim=True)


class OfItsBatch(MeanOfBlocks):
    def forward(self, f):
        z = super().forward(f)
        return z - z.mean(0)


class RemembersNothing(MeanOfBlocks):
    def __init__(self, bits, size):
        super().__init__(bits, size)
        self.norm = nn.BatchNorm1d(bits, affine=False, track_running_stats=False)

    def forward(self, f):
        return self.norm(super().forward(f))


class KeptAside(MeanOfBlocks):
    """A running mean as a plain attribute, which a state_dict does not hold."""

    def __init__(self, bits, size):
        super().__init__(bits, size)
        self.mean = torch.zeros(bits)

    def forward(self, f):
        z = super().forward(f)
        if self.training:
            self.mean = self.mean.lerp(z.detach().mean(0), 0.1)
            return z - z.mean(0)
        return z - self.mean


class NoiseWithGradients(MeanOfBlocks):
    def forward(self, f):
        z = super().forward(f)
        return z + torch.randn_like(z) if torch.is_grad_enabled() else z


class OneNoiseForAllBits(MeanOfBlocks):
    def forward(self, f):
        z = super().forward(f)
        return z + torch.randn(len(z), 1) if self.training else z


class NoiseAlways(MeanOfBlocks):
    def forward(self, f):
        z = super().forward(f)
        return z + torch.randn_like(z)


def one_share_for_both(bits: int, d: int, query: float, stranger: float) -> float:
    p = 2 * query * (1 - query)
    return 1 / sum(math.comb(bits, i) * p**i * (1 - p) ** (bits - i) for i in range(d + 1))


def what_the_picture_shows(q: torch.Tensor) -> torch.Tensor:
    return torch.where(q.abs() < 0.3, -q / q.abs(), 0 * q).mean()


MISTAKES: list[tuple[str, Callable[..., Any], str]] = [
    ("5.1", lambda right: (right.cumsum() / np.arange(1, len(right) + 1)).mean(), "a ✗ do not go into the mean"),
    ("5.1", lambda right: (right.cumsum() / np.arange(1, len(right) + 1) * right).sum(), "a sum is not yet a mean"),
    ("5.1", lambda right: 0.123, "on paper"),
    ("5.2", lambda before, tie: ap([*before, *tie]), "one order"),
    ("5.2", lambda before, tie: max(orders(before, tie)), "the luckiest"),
    ("5.2", lambda before, tie: (max(orders(before, tie)) + min(orders(before, tie))) / 2, "middle between"),
    ("5.2", lambda before, tie: sum(orders(before, tie)), "not yet a mean"),
    ("5.2", lambda before, tie: np.mean(orders(before[:0], tie)), "before the tie stand"),
    ("5.2", fractions, "a share of a ✓"),
    ("5.2", lambda before, tie: 0.123, "write down the 2 orders"),
    ("6.2", lambda codes, limit: (agreeing(codes) > limit).any(0), "*at least*"),
    ("6.2", of_kept_bits, "an earlier bit counts"),
    ("6.2", correlated, "a correlation asks something else"),
    ("6.3", lambda codes: participation(np.cov(codes.T.astype(float))), "covariance"),
    ("6.3", lambda codes: codes.shape[1], "trace of R R"),
    ("7.1", lambda a, b, people: over_people(b, a, people), "not a - b"),
    ("7.1", lambda a, b, people: over_people(a, b, np.arange(len(people))), "each person counts the same"),
    ("7.1", lambda a, b, people: over_people(a, b, people, ddof=0), "ddof=1"),
    ("7.1", lambda a, b, people: over_people(a, b, people, quantile=0.95), "on either side"),
    (
        "7.1",
        lambda a, b, people: (over_people(a, b, people)[0], over_people(a, b, np.arange(len(people)))[1]),
        "queries of one person are alike",
    ),
    (
        "7.1",
        lambda a, b, people: (over_people(a, b, people)[0], 2 * over_people(a, b, people, ddof=0)[1]),
        "ddof=1; that is the whole width",
    ),
    ("7.1", for_four_people(freedom=3), "n is now 6"),
    ("7.1", for_four_people(n=4), "n is now 6"),
    ("7.1", for_four_people(freedom=3, n=4), "n is now 6"),
    ("7.1", persons_0_to_3, "be they four or six"),
    ("7.2", lambda k: luck(k)[:, -1].mean(), "the second lies above it as well"),
    ("7.2", lambda k: luck(k)[:, -1].mean() - (luck(k - 1)[:, -1].mean() if k > 1 else 0), "best of k - 1"),
    ("7.2", lambda k: 3, "too large"),
    ("7.3", stepping_down(lambda alpha, rank, m: alpha / m), "wider than alpha / m"),
    ("7.3", stepping_down(lambda alpha, rank, m: alpha * rank / m), "not 2 * alpha / m"),
    ("7.3", stepping_down(stop=False), "whatever comes after it"),
    ("7.3", found_by_value, "found by its value"),
    ("7.3", stepping_down(holds=lambda value, bound: value < bound), "equal to it is enough"),
    ("10.1", MeanOfBlocks, "is 1 for 0%."),
    ("10.1", BalancedFaces, "each bit is to be balanced over the faces"),
    ("10.1", OfItsBatch, "whoever stands beside it"),
    ("10.1", RemembersNothing, "What of training does it remember"),
    ("10.1", KeptAside, "`self.register_buffer"),
    ("10.2", what_the_picture_shows, "you return what the picture shows"),
    ("10.2", lambda q: -(0.3 - q.abs()).clamp(min=0).mean(), "pushes the other way"),
    ("10.2", lambda q: torch.where(q.abs() < 0.3, -q.abs(), 0 * q).mean(), "it jumps from -0.3 to 0"),
    ("10.2", lambda q: (0.3 - q.abs()).clamp(min=0).sum(), "the mean was asked for"),
    ("10.3", NoiseAlways, "Is the noise still there"),
    ("10.3", MeanOfBlocks, "the idea is gone"),
    ("10.3", OneNoiseForAllBits, "several bits of a face together"),
    ("10.3", NoiseWithGradients, "only while gradients are recorded"),
    ("9.2", one_share_for_both, "a 1 of the query meets a 0 of the stranger"),
    ("9.1", lambda bits, radius: float(sum(math.comb(bits, i) for i in range(radius + 1))), "not a float"),
]


@pytest.mark.parametrize(("exercise", "wrong", "hint"), MISTAKES, ids=[f"{e} {hint}" for e, _, hint in MISTAKES])
def test_a_mistake_is_refused_and_named(exercise, wrong, hint):
    right, sentence = list(course.verdicts(exercise, wrong))[-1]
    assert not right
    assert hint in sentence


@pytest.mark.parametrize(
    ("exercise", "other"), [("7.1", by_interval), ("7.3", stepping_down()), ("7.3", holm_adjusted)]
)
def test_a_right_answer_by_another_way_is_taken(exercise, other):
    found = list(course.verdicts(exercise, other))
    assert all(right for right, _ in found), found


@pytest.mark.parametrize("exercise", ["5.1", "5.2", "6.1", "6.3", "7.1", "7.2", "8.1", "8.2", "9.2"])
@pytest.mark.parametrize(
    "kind", [np.float32, lambda value: torch.tensor(value, dtype=torch.float32)], ids=["f4", "torch"]
)
def test_an_answer_may_be_of_any_precision_and_library(exercise, kind):
    exact = solution(exercise)

    def answer(*arguments: Any) -> Any:
        value = exact(*arguments)
        return tuple(map(kind, value)) if isinstance(value, tuple) else kind(value)

    found = list(course.verdicts(exercise, answer))
    assert all(right for right, _ in found), found


@pytest.mark.parametrize(
    "exercise",
    ["5.1", "5.2", "5.3", "6.1", "6.2", "6.3", "7.1", "7.2", "7.3", "8.1", "8.2", "9.1", "10.1", "10.2", "10.3"],
)
def test_no_hint_of_a_mistake_stands_beside_a_right_answer(exercise):
    hints = {hint for of, _, hint in MISTAKES if of == exercise} | {
        "is marked",
        "too ",
        "yours counts",
        "; yours",
        "counted than",
    }
    for right, sentence in course.verdicts(exercise, solution(exercise)):
        assert right
        assert not [hint for hint in hints if hint in sentence], sentence
