"""The same queries under each variant: what all get wrong, what divides them, and faces only where they may be."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ablations import same_queries
from ablations.details import Details
from ablations.same_queries import Answers, answers, answers_figure, answers_table, faces_at_hand, may_show
from ablations.suite import load_suite
from dcbh_core import Config, Split, load_split
from tests.conftest import synthetic_faces
from tests.made_details import made_runs

GALLERY = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
PEOPLE = np.array([0, 0, 1, 1])


def run_of(*queries: str) -> Details:
    """Two people with two faces each in the gallery, and queries of the first person, by the text of their codes."""
    codes = np.array([[sign == "1" for sign in query] for query in queries])
    labels = {"gallery": PEOPLE, "queries": np.zeros(len(queries), int)}
    return Details({}, {}, None, None, {"gallery": GALLERY, "queries": codes}, labels, {"queries": ["Ann", "Bob"]})


@pytest.fixture
def found(small: str) -> Answers:
    """Query 0 is easy for both; `full` alone is right on 1; none on 2; on 3 both tie with somebody else."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0]})
    runs, _ = made_runs(suite, [0])
    details = [run_of("0000", "0001", "1111", "0100"), run_of("0000", "1110", "1111", "0100")]
    result = answers(runs, details, suite, {"bits": 12})
    assert result is not None
    return result


def test_what_all_get_wrong_is_found(found: Answers) -> None:
    assert found.wrong.to_numpy().tolist() == [[0, 0], [0, 1], [1, 1], [1, 1]]
    assert found.wrong_for_all(5) == [2, 3]  # the worst first
    assert found.wrong_for_all(1) == [2]


def test_what_divides_the_variants_comes_first(found: Answers) -> None:
    assert found.most_different(5) == [1]
    assert found.ap["full"][1] == pytest.approx(1)


def test_of_faces_that_tie_the_wrong_one_is_shown(found: Answers) -> None:
    """0100 is as far from 0000, which is right, as from 1100, which is not."""
    assert found.nearest["full"].tolist() == [0, 1, 3, 2]


def test_a_query_is_wrong_for_all_by_most_seeds(small: str) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 1, 2]})
    runs, _ = made_runs(suite, [0, 1, 2])
    right, wrong = run_of("0000"), run_of("1111")
    by_seed = {"full": [wrong, wrong, right], "no_center": [right, wrong, wrong]}
    details = [by_seed[row["variant"]][row["seed"]] for row in runs.to_dict("records")]
    result = answers(runs, details, suite, {"bits": 12})
    assert result is not None
    assert result.wrong.to_numpy() == pytest.approx(np.full((1, 2), 2 / 3))
    assert result.wrong_for_all(1) == [0]
    one, other = (run_of(query).evaluations[same_queries.SEEN] for query in ("0000", "1111"))
    assert one is not None and other is not None
    assert result.ap["full"][0] == pytest.approx((one.ap[0] + 2 * other.ap[0]) / 3)


def test_variants_with_other_faces_or_without_codes_are_not_compared(small: str) -> None:
    suite = load_suite(small)
    runs, details = made_runs(suite, [0])
    assert answers(runs, details, suite, {"bits": 12}) is not None
    assert answers(runs.assign(faces=runs["variant"]), details, suite, {"bits": 12}) is None
    assert answers(runs, [None] * len(runs), suite, {"bits": 12}) is None


def test_several_splits_give_the_queries_of_the_first(small: str) -> None:
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0], "split_seed": [0, 1]})
    runs, details = made_runs(suite, [0])
    runs["faces"] = [f"split {split}" for split in runs["split_seed"]]
    result = answers(runs, details, suite, {"bits": 12})
    assert result is not None
    assert result.faces == "split 0"


def test_the_table_names_people_only_where_they_may_be_named(found: Answers) -> None:
    named = answers_table(found, [1, 2], named=True)
    assert named.to_numpy().tolist()[0] == ["1, Ann", "1.00 ✓", f"{found.ap['no_center'][1]:.2f} ✗"]
    assert answers_table(found, [1], named=False)["query"].tolist() == ["1, person 1"]


def test_the_figure_shows_the_query_and_what_each_variant_found(found: Answers) -> None:
    faces = synthetic_faces(2, 4)
    gallery, queries = faces.select(np.array([0, 1, 4, 5])), faces.select(np.array([2, 3, 2, 3]))
    fig = answers_figure(found, [1, 2], Split(gallery, gallery, queries))
    assert fig is not None
    shown = [np.moveaxis(np.asarray(ax.images[0].get_array()), -1, 0) for ax in fig.axes]
    expected = [(queries, 1), (gallery, 1), (gallery, 2), (queries, 2), (gallery, 3), (gallery, 3)]
    for image, (part, index) in zip(shown, expected, strict=True):
        assert (image == part.images[index]).all()
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[:2] == ["query 1", "full\n✓ AP 1.00"]
    assert titles[2].startswith("no_center\n✗ AP")
    plt.close(fig)
    assert answers_figure(found, [1], None) is None
    assert answers_figure(found, [], Split(gallery, gallery, queries)) is None


# Faces.


def test_faces_are_shown_if_they_are_those_of_the_runs() -> None:
    config = Config(dataset="orl")
    fingerprint = load_split(config).fingerprint()
    split = faces_at_hand(config, fingerprint)
    assert split is not None and split.fingerprint() == fingerprint
    assert faces_at_hand(config, "other faces") is None
    assert faces_at_hand(config, fingerprint, wanted=False) is None


def test_faces_of_ones_own_are_shown_only_if_that_is_wanted(tmp_path: Path) -> None:
    own = Config(dataset="folder", root=str(tmp_path))
    assert (may_show(own), may_show(own, True), may_show(Config(), False)) == (False, True, False)
    assert faces_at_hand(own, "any", True) is None  # there are none


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Config] = []
    monkeypatch.setattr(same_queries, "load_split", lambda config: loaded.append(config) or load_split(Config()))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    config = Config(dataset="lfw")
    assert faces_at_hand(config, load_split(Config()).fingerprint()) is None
    assert loaded == []
    (tmp_path / "lfw_home/lfw_funneled").mkdir(parents=True)
    assert faces_at_hand(config, load_split(Config()).fingerprint()) is not None
    assert loaded == [config]
