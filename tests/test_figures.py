import io
from pathlib import Path

import IPython.display
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ablations.figures import Album, looks, seen_against_unseen, values_by_run
from ablations.suite import Suite, load_suite
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
from tests.stub_suite import made_up


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


# Of reports.


@pytest.fixture
def suite(small: str) -> Suite:
    return load_suite(small)


def test_a_figure_of_runs_has_a_dot_for_each_and_an_axis_that_fits_them(suite: Suite) -> None:
    runs = made_up(suite, [0, 1, 2])
    runs["map"] = 0.01 + (runs["map"] - runs["map"].min()) / 10  # near chance, far below raw pixels
    fig = values_by_run(runs, suite, "map", "MAP", 0.31)
    [ax] = fig.axes
    low, high = ax.get_ylim()
    span = runs["map"].max() - runs["map"].min()
    assert low < runs["map"].min() < runs["map"].max() < high
    assert high - low < 1.5 * span
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    found = sorted(float(y) for line in dots for y in np.asarray(line.get_ydata()))
    assert found == pytest.approx(sorted(runs["map"]))
    assert [text.get_text() for text in ax.texts] == ["↑ raw pixels 0.310"]
    colors = [line.get_color() for line in dots]
    assert colors == [look.color for look in looks(suite.variants).values()] * 2
    plt.close(fig)


def test_raw_pixels_within_the_runs_are_a_line(suite: Suite) -> None:
    runs = made_up(suite, [0, 1, 2])
    middle = float(runs["map"].mean())
    fig = values_by_run(runs, suite, "map", "MAP", middle)
    [ax] = fig.axes
    assert [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [middle]
    assert not ax.texts
    plt.close(fig)


def test_runs_that_hardly_differ_look_so(suite: Suite) -> None:
    fig = values_by_run(made_up(suite, [0]).assign(map=0.5), suite, "map", "MAP")
    low, high = fig.axes[0].get_ylim()
    assert (low, high) == pytest.approx((0.49, 0.51))
    plt.close(fig)


def test_shallow_methods_are_grey_and_variants_keep_their_colours() -> None:
    numbers = {"seen": 0.5, "unseen": 0.4, "seen_half_width": 0.1, "unseen_half_width": 0.1}
    names = ["ITQ on pixels", "full", "no_center"]
    fig = seen_against_unseen(pd.DataFrame([{"variant": name, "point": "12 bits", **numbers} for name in names]))
    shallow, *own = [container[0].get_color() for container in fig.axes[0].containers]
    assert max(shallow) - min(shallow) < 0.01
    assert own == [look.color for look in looks(names[1:]).values()]
    plt.close(fig)


def test_an_album_keeps_figures_as_vectors_for_latex_and_shows_them_with_a_text(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda *things, **more: shown.append((things, more)))
    album = Album(suite, tmp_path)
    runs = made_up(suite, [0, 1])
    for _ in range(2):
        album.show(values_by_run(runs, suite, "map", "MAP of $x_1$"), "map_seen", "MAP, a dot for each run.")
    album.show(None, "losses", "Each term.")
    assert list(album.kept) == ["map_seen"]
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert set(files) == {"map_seen.pdf", "map_seen.svg", "map_seen.tex"}
    assert files["map_seen.pdf"].startswith(b"%PDF") and b"/Type3" not in files["map_seen.pdf"]
    tex = files["map_seen.tex"].decode()
    for part in ("{figures/map_seen.pdf}", r"\caption{A small suite. MAP, a dot", r"\label{fig:small:map-seen}"):
        assert part in tex
    (bundle,), more = shown[0]
    assert set(bundle) == {"image/svg+xml", "image/png"}
    assert {about["alt"] for about in more["metadata"].values()} == {"MAP, a dot for each run."}
    (again,), _ = shown[2]
    assert bundle["image/svg+xml"] == again["image/svg+xml"]
    assert "Left out" in shown[4][0][0].data


def test_without_a_directory_nothing_is_kept(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda *things, **more: shown.append(things))
    monkeypatch.chdir(tmp_path)
    Album(suite).show(values_by_run(made_up(suite, [0]), suite, "map", "MAP"), "map", "MAP.")
    assert set(shown[0][0]) == {"image/png"}
    assert "figures/" not in shown[1][0].data
    assert list(tmp_path.glob("figures*")) == []
