"""Maps of variants beside each other show the same faces, the same people in the same colours, lying alike."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from ablations import small_maps
from ablations.run_directory import QUESTIONS
from ablations.small_maps import code_maps, maps_figure
from ablations.suite import Suite, load_suite
from tests.made_details import made_details, made_runs

SEEN, UNSEEN = QUESTIONS[0], QUESTIONS[2]


@pytest.fixture
def suite(small: str, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The small suite; in the place of t-SNE stand two directions of the codes, no two faces on one place."""
    monkeypatch.setattr(small_maps, "tsne", lambda codes: codes[:, :2] + np.arange(len(codes))[:, None] * [0.1, 0.03])
    return load_suite(small)


def test_maps_are_of_the_first_seed_at_the_point(suite: Suite) -> None:
    runs, details = made_runs(suite, [1, 0])
    maps = code_maps(runs, details, suite, {"bits": 48}, SEEN)
    assert maps is not None
    assert list(maps.places) == ["full", "no_center"]
    assert (len(maps.labels), maps.is_query.sum()) == (32, 12)
    for variant in suite.variants:
        at = (runs["variant"] == variant) & (runs["bits"] == 48) & (runs["seed"] == 0)
        own = details[int(np.flatnonzero(at)[0])]
        assert own is not None
        assert maps.scores[variant] == runs.loc[at, "map"].item()
        plane = small_maps.tsne(np.concatenate([own.codes["gallery"], own.codes["queries"]]))
        np.testing.assert_allclose(pdist(maps.places[variant]), pdist(plane), atol=1e-9)  # turned, but not bent


def test_a_map_that_is_turned_and_mirrored_is_turned_back() -> None:
    rng = np.random.default_rng(0)
    like = rng.normal(size=(30, 2))
    other = like @ np.array([[0.6, 0.8], [0.8, -0.6]]) + [5, -3]
    np.testing.assert_allclose(small_maps._turned(other, like), like - like.mean(0), atol=1e-12)


def test_people_in_colour_go_from_the_hardest_to_the_easiest(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, details = made_runs(suite, [0])
    monkeypatch.setattr(small_maps, "COLORED", 3)
    maps = code_maps(runs, details, suite, {"bits": 12}, SEEN)
    assert maps is not None
    ap = np.mean([one.evaluations[SEEN].ap for one in details[:2] if one], 0)  # type: ignore[union-attr]
    mean = [ap[maps.labels[maps.is_query] == person].mean() for person in range(4)]
    order = np.argsort(mean, kind="stable")
    assert maps.shown == order[[0, 1, 3]].tolist()


def test_the_same_people_have_the_same_colours_on_each_map(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, details = made_runs(suite, [0])
    monkeypatch.setattr(small_maps, "COLORED", 3)
    maps = code_maps(runs, details, suite, {"bits": 12}, SEEN)
    fig = maps_figure(maps, named=True)
    assert maps is not None and fig is not None
    found: list[dict[tuple[float, ...], set[int]]] = []
    for ax, places in zip(fig.axes, maps.places.values(), strict=True):
        colors: dict[tuple[float, ...], set[int]] = {}
        for dots in ax.collections:
            for place, color in zip(dots.get_offsets(), dots.get_facecolors(), strict=True):
                [person] = {int(maps.labels[i]) for i in np.flatnonzero((places == place).all(1))} or {-1}
                colors.setdefault(tuple(color), set()).add(person)
        found.append(colors)
    assert found[0] == found[1]
    assert sorted(map(len, found[0].values())) == [1, 1, 1, 1]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [
        *(maps.names[label] for label in maps.shown),
        "others",
        "query",
    ]
    plt.close(fig)


def test_people_have_numbers_where_they_are_not_named(suite: Suite) -> None:
    runs, details = made_runs(suite, [0])
    maps = code_maps(runs, details, suite, {"bits": 12}, SEEN)
    fig = maps_figure(maps, named=False)
    assert maps is not None and fig is not None
    texts = [text.get_text() for text in fig.legends[0].get_texts()]
    assert texts[:-2] == [f"person {label + 1}" for label in maps.shown]
    assert not any("Ann" in text for text in texts)
    plt.close(fig)


def test_maps_of_unseen_people_are_of_their_codes(suite: Suite) -> None:
    runs, details = made_runs(suite, [0], unseen=True)
    runs["unseen_map"] = 0.25
    maps = code_maps(runs, details, suite, {"bits": 12}, UNSEEN)
    assert maps is not None
    assert maps.names == [f"new_$Ann_{i}$" for i in range(4)]
    assert set(maps.scores.values()) == {0.25}
    assert code_maps(*made_runs(suite, [0]), suite, {"bits": 12}, UNSEEN) is None


def test_there_are_no_maps_of_different_faces_or_without_codes(suite: Suite) -> None:
    runs, details = made_runs(suite, [0])
    assert code_maps(runs, [None] * len(runs), suite, {"bits": 12}, SEEN) is None
    other = runs.assign(faces=runs["variant"])
    assert code_maps(other, details, suite, {"bits": 12}, SEEN) is None
    assert maps_figure(None, named=True) is None


def test_large_sets_give_a_sample_with_everybody_in_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_maps, "MOST", 16)
    runs, _ = made_runs(suite, [0])
    maps = code_maps(runs, [made_details(bits=12)] * len(runs), suite, {"bits": 12}, SEEN)
    assert maps is not None
    assert (len(maps.labels), set(maps.labels.tolist())) == (16, {0, 1, 2, 3})
