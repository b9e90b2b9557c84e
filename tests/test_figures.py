import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ablations.figures import seen_against_unseen
from dcbh_core import Faces
from dcbh_core.figures import (
    code_strips,
    compact,
    loss_curves,
    neighbors,
    pairs_of_people,
    people,
    people_map,
    sample,
    tsne,
)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 70))
@settings(max_examples=100, deadline=None)
def test_a_sample_holds_everybody_and_prefers_nobody(labels, limit):
    labels = np.array(labels)
    chosen = sample(labels, limit)
    people, counts = np.unique(labels, return_counts=True)
    assert len(chosen) == min(len(labels), max(limit, len(people)))
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    taken = np.array([(labels[chosen] == person).sum() for person in people])
    assert taken.min() >= 1
    # Whoever has fewer in the sample than another by more than one has no more photographs.
    assert (taken[taken < taken.max() - 1] == counts[taken < taken.max() - 1]).all()


def test_tsne_keeps_two_groups_apart_and_gives_the_same_map_again():
    rng = np.random.default_rng(0)
    far = np.repeat([False, True], 30)
    vectors = (rng.random((60, 24)) < 0.05) ^ far[:, None]
    points = tsne(vectors, perplexity=10)
    np.testing.assert_array_equal(points, tsne(vectors, perplexity=10))
    centers = np.stack([points[~far].mean(0), points[far].mean(0)])
    nearer = np.linalg.norm(points[:, None] - centers, axis=2).argmin(1)
    np.testing.assert_array_equal(nearer, far)


def test_equal_vectors_share_one_place():
    np.testing.assert_array_equal(tsne(np.ones((12, 8))), np.zeros((12, 2)))


def test_a_compact_figure_is_a_small_picture_of_the_same_size_and_is_closed():
    fig, ax = plt.subplots(figsize=(5, 3))
    ax.scatter(*np.random.default_rng(0).random((2, 200)))
    full = io.BytesIO()
    fig.savefig(full, format="png", bbox_inches="tight")
    small = compact(fig)
    assert len(small.data) < len(full.getvalue()) / 2
    assert Image.open(io.BytesIO(small.data)).size == Image.open(full).size
    assert not plt.fignum_exists(fig.number)


def test_names_with_dollars_and_marks_are_drawn_as_they_are():
    """Between two dollars matplotlib reads mathematics, and fails where it is none."""
    names = ["$\\frac{$", "a $x_$ \N{REPLACEMENT CHARACTER}"]
    faces = Faces(np.zeros((4, 3, 32, 32), np.uint8), np.array([0, 0, 1, 1]), names)
    nearest = np.array([[2], [0]])
    for draw in (
        lambda: people(faces),
        lambda: neighbors(faces, np.array([0, 1]), faces, nearest, nearest, np.ones(4)),
        lambda: code_strips(faces.images[:2], np.zeros((2, 8), bool), names),
        lambda: pairs_of_people(faces, faces, 1 - np.eye(4, dtype=int), np.array([[0, 1]]), [names[0]]),
        lambda: loss_curves([{names[0]: 1.0, "total": 2.0}]),
        lambda: people_map(plt.subplots()[1], np.eye(4)[:, :2], faces, np.zeros(4, bool), np.zeros(4, bool)),
    ):
        draw()
        plt.gcf().canvas.draw()
        plt.close("all")


def test_a_pair_of_people_shows_the_faces_that_won_nearest_first_and_frames_those_that_took_a_place():
    """Person 0 has two gallery faces; of its two queries the second loses both places to person 1."""
    gallery = Faces(np.zeros((5, 3, 32, 32), np.uint8), np.array([0, 0, 1, 1, 1]), ["a", "b"])
    queries = Faces(np.zeros((2, 3, 32, 32), np.uint8), np.array([0, 0]), ["a", "b"])
    distances = np.array([[1, 2, 9, 9, 9], [6, 4, 3, 7, 2]])
    for order in ([0, 1], [1, 0]):  # whichever query is stored first
        axes = pairs_of_people(gallery, queries, distances[order], np.array([[0, 1]]), ["title"]).axes
        assert [ax.get_xlabel() for ax in axes if ax.get_xlabel()] == [
            *("query", "✗ query"),
            *("✓ 4 bits", "✓ 6 bits"),
            *("✗ 2 bits", "✗ 3 bits", "✗ 7 bits"),
        ]
        framed = [ax.get_xlabel() for ax in axes if ax.images and ax.spines["top"].get_visible()]
        assert framed == ["query", "✗ query", "✗ 2 bits", "✗ 3 bits"]
        plt.close("all")


def test_variants_with_dollars_are_drawn_as_they_are():
    rows = [{"point": "bits=$\\frac{$", "variant": name, "seen": 0.5, "unseen": 0.4} for name in ("$\\frac{$", "$x$")]
    seen_against_unseen(pd.DataFrame(rows).assign(seen_half_width=0.1, unseen_half_width=0.1))
    plt.gcf().canvas.draw()
    plt.close("all")
