"""Evaluation against a loop over sorted rankings, search against NumPy, and t-SNE; on synthetic codes of 48 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dcbh_core import evaluate, search
from dcbh_core.config import resolved_device
from dcbh_core.figures import tsne
from dcbh_core.hamming import pack

from .measuring import Measurement, by_turns, memory_bandwidth, rates, seconds

BITS, PEOPLE = 48, 530
FEW = 20  # queries of the slow loop
AT_ONCE, NEAREST = 100, 50


def measure(device: str, repeats: int) -> Iterator[Measurement]:
    yield _evaluation(2650, 67177, repeats)  # FaceScrub's size
    yield _evaluation(1000, 1_000_000, repeats)
    bandwidth = memory_bandwidth()
    for gallery in (1_000_000, 10_000_000):
        yield _search(gallery, bandwidth, repeats)
    for n, people in ((400, 40), (5000, 158), (20_000, 530)):
        yield _tsne(n, people)


def _evaluation(queries: int, gallery: int, repeats: int) -> Measurement:
    asked, stored = random_codes(queries, 1), random_codes(gallery, 2)
    asked_labels, labels = np.arange(queries) % PEOPLE, np.arange(gallery) % PEOPLE

    def sorted_rankings() -> None:
        for code, label in zip(asked[:FEW], asked_labels[:FEW], strict=True):
            order = np.argsort((stored != code).sum(1))
            right = labels[order] == label
            (right.cumsum()[right] / (np.flatnonzero(right) + 1)).mean()

    times, slow = by_turns(repeats, lambda: evaluate(asked, asked_labels, stored, labels), sorted_rankings)
    slow = [value * queries / FEW for value in slow]
    how = f"a loop over sorted rankings, {FEW} queries scaled up"
    where = resolved_device("auto")  # which evaluate takes, whatever trainings are measured on
    return Measurement(f"evaluation, {queries:,} queries in {gallery:,}, on {where}", "s", times, slow, how)


def _search(gallery: int, bandwidth: float, repeats: int) -> Measurement:
    asked, stored = random_codes(AT_ONCE, 1), random_codes(gallery, 2)
    words, few = pack(stored)[0], pack(asked)[0][:5]

    def by_numpy() -> None:
        for word in few:
            distances = np.bitwise_count(words ^ word)
            nearest = np.argpartition(distances, NEAREST - 1)[:NEAREST]
            nearest[np.lexsort((nearest, distances[nearest]))]

    times, slow = by_turns(repeats, lambda: search(asked, stored, NEAREST), by_numpy)
    return Measurement(
        f"search, {NEAREST} nearest of {gallery:,}, {AT_ONCE} queries at a time",
        "queries/s",
        rates(AT_ONCE, times),
        rates(len(few), slow),
        "NumPy: bitwise_count and argpartition, codes packed beforehand",
        bandwidth / words.nbytes,
        f"{bandwidth / 1e9:.0f} GB/s measured, if each query reads all codes from memory",
    )


def _tsne(n: int, people: int) -> Measurement:
    rng = np.random.default_rng(0)
    own = random_codes(people, 1)[np.arange(n) % people]
    vectors = own ^ (rng.random((n, BITS)) < 0.1)
    return Measurement(f"t-SNE of {n:,} codes", "s", [seconds(lambda: tsne(vectors))])


def random_codes(n: int, seed: int) -> np.ndarray:
    """Random codes, bool (n, BITS)."""
    return np.frombuffer(np.random.default_rng(seed).bytes(n * BITS), np.uint8).reshape(n, BITS) < 128
