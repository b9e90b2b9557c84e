"""The authors' evaluation, reproduced in a few lines: it drops every eighth bit, and ties fall as the sort has them.

`python -m tests.test_authors_evaluation RUN_DIRECTORY ...` scores the codes of runs by it, and by the kit's own.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from dcbh_core import evaluate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "notebooks"))

from course.authors import authors_batches, authors_bytes, authors_distances, authors_map, evaluation_of, sorted_map


@pytest.mark.parametrize("bits", [8, 24, 48])
def test_flipping_every_eighth_bit_goes_unnoticed(bits):
    codes = np.random.default_rng(0).random((20, bits)) < 0.5
    flipped = codes.copy()
    flipped[:, 7::8] ^= True
    np.testing.assert_array_equal(authors_bytes(codes), authors_bytes(flipped))


def test_codes_of_12_bits_show_distances_up_to_14():
    codes = np.array([[bool(number >> bit & 1) for bit in range(12)] for number in range(4096)])
    assert authors_distances(codes[::7], codes).max() == 14


def test_people_who_differ_in_every_eighth_bit_alone_are_mixed_up():
    """Two people, told apart by bit 8 of 8: a perfect code, of which the authors' evaluation sees nothing."""
    labels = np.array([0, 1, 0, 1])
    codes = np.zeros((4, 8), bool)
    codes[:, 7] = labels == 1
    assert evaluate(codes, labels, codes, labels).map == 1
    # All distances are 0, so the ranking is the gallery's order: 0 1 0 1.
    assert authors_map(codes, labels, codes, labels) == pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 1 / 2) / 2) / 2)


def test_without_ties_and_eighth_bits_both_agree():
    """Seven bits in each byte say all, and no two gallery codes lie equally far from the query."""
    gallery = np.zeros((6, 16), bool)
    for distance in range(6):
        gallery[distance, :distance] = True
    labels = np.array([0, 1, 0, 0, 1, 0])
    query = np.zeros((1, 16), bool)
    assert authors_map(query, labels[:1], gallery, labels) == pytest.approx(
        evaluate(query, labels[:1], gallery, labels).map
    )


def test_any_distances_give_the_evaluation_that_the_kit_gives_for_codes():
    rng = np.random.default_rng(0)
    codes, labels = rng.random((60, 12)) < 0.5, rng.integers(0, 5, 60)
    distances = (codes[:20, None] != codes[20:]).sum(2)
    evaluation = evaluation_of(distances, labels[:20, None] == labels[20:])
    np.testing.assert_allclose(evaluation.ap, evaluate(codes[:20], labels[:20], codes[20:], labels[20:]).ap)
    assert evaluation.map_worst <= sorted_map(distances, labels[:20, None] == labels[20:]) <= evaluation.map_best


@pytest.mark.parametrize(("size", "parts", "lost"), [(280, 100, 78), (9899, 100, 1), (9900, 100, 0), (19, 5, 1)])
def test_small_galleries_lose_their_tail(size, parts, lost):
    batches = authors_batches(size, parts)
    assert [i for batch in batches for i in batch] == list(range(size - lost))
    assert len(batches) == parts + 1


if __name__ == "__main__":
    for directory in sys.argv[1:]:
        with np.load(Path(directory) / "evaluation.npz") as arrays:
            parts = [arrays[f"{name}_{what}"] for name in ("queries", "gallery") for what in ("codes", "labels")]
        print(f"MAP {evaluate(*parts).map:.4f}, authors' evaluation {authors_map(*parts):.4f}  {directory}")
