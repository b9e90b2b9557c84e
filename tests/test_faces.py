"""Faces and splits. Made-up faces carry their position in their pixels, so that a split shows which one went where."""

import re
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Config, Faces, Split, faces, load_faces, load_split
from dcbh_core.faces import validation_split
from tests.ddh_files import PIXELS, ddh, flat

# --- Faces ------------------------------------------------------------------------------------------------------------


def numbered(counts: list[int], order: np.random.Generator | None = None) -> Faces:
    """``counts[p]`` photographs of person p, the i-th photograph of the set with i in its first four bytes."""
    labels = np.repeat(np.arange(len(counts)), counts)
    if order is not None:
        order.shuffle(labels)
    images = np.zeros((len(labels), 3 * 32 * 32), np.uint8)
    images[:, :4] = np.arange(len(labels), dtype="<u4")[:, None].view(np.uint8)
    return Faces(images.reshape(-1, 3, 32, 32), labels.astype(np.int64), [f"person {p}" for p in range(len(counts))])


def positions(part: Faces) -> list[int]:
    return part.images.reshape(len(part), -1)[:, :4].copy().view("<u4")[:, 0].tolist()


def test_faces_know_their_length_and_people():
    some = numbered([2, 3])
    assert len(some) == 5
    assert some.num_identities == 2


def test_select_keeps_labels_and_names():
    some = numbered([2, 3]).select(np.array([4, 0]))
    assert positions(some) == [4, 0]
    assert some.labels.tolist() == [1, 0]
    assert some.names == ["person 0", "person 1"]


def with_files(some: Faces) -> Faces:
    files = [f"{label}/{position}.png" for label, position in zip(some.labels, positions(some), strict=True)]
    return Faces(some.images, some.labels, some.names, np.array(files))


def test_files_follow_their_photographs_into_every_part_of_a_split(monkeypatch: pytest.MonkeyPatch):
    some = with_files(numbered([5, 6, 7, 8, 9], np.random.default_rng(0)))
    monkeypatch.setattr(faces, "_load", lambda data: (some, None))
    split = load_split(Config(new_people=0.4, queries_per_identity=2))
    assert split.new_gallery is not None and split.new_queries is not None
    parts = (split.training, split.gallery, split.queries, split.new_gallery, split.new_queries)
    for part in parts:
        assert part.files is not None
        assert [int(Path(file).stem) for file in part.files] == positions(part)
    assert sum(map(len, parts[1:])) == len(some)


def test_files_are_in_no_fingerprint_and_may_be_unknown():
    some = numbered([2, 3])
    assert with_files(some).fingerprint() == some.fingerprint()
    assert some.select(np.array([1])).files is None


def test_each_photograph_has_one_file():
    some = numbered([2, 3])
    with pytest.raises(ValueError, match="5 photographs need as many files"):
        Faces(some.images, some.labels, some.names, np.array(["1.png"]))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 32, 32), np.float32), np.zeros(2, np.int64), "float32"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64), r"\(2, 32, 32, 3\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.zeros(3, np.int64), r"\(3, 3, 32, 32\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.array([0, 1]), "from 0 to 0"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.array([-1, 0]), "from 0 to 0"),
    ],
)
def test_faces_refuse_what_they_are_not(images: np.ndarray, labels: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        Faces(images, labels, ["anna"])


def test_fingerprint_follows_content_alone():
    one = numbered([2, 2])
    other = Faces(np.asfortranarray(one.images), one.labels.copy(), list(one.names))
    assert one.fingerprint() == other.fingerprint()
    assert re.fullmatch("[0-9a-f]{64}", one.fingerprint())


def test_fingerprint_sees_each_pixel_and_label():
    one = numbered([2, 2])
    pixel, label = one.images.copy(), one.labels.copy()
    pixel[3, 2, 31, 31] += 1
    label[0] = 1
    prints = {
        some.fingerprint()
        for some in (one, Faces(pixel, one.labels, one.names), Faces(one.images, label, one.names), numbered([2, 1]))
    }
    assert len(prints) == 4


@pytest.mark.parametrize("load", [lambda: load_faces("orl"), lambda: load_split(Config()).training])
def test_loading_faces_asks_for_no_device(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("asked for CUDA"))
    assert len(load()) > 0


# --- Splits -----------------------------------------------------------------------------------------------------------


def split_of(some: Faces, **settings: Any) -> Split:
    with mock.patch.object(faces, "_load", return_value=(some, None)):
        return load_split(Config(**settings))


def test_orl_splits_3_to_7():
    split = load_split(Config(dataset="orl"))
    assert np.bincount(split.queries.labels).tolist() == [3] * 40
    assert np.bincount(split.gallery.labels).tolist() == [7] * 40
    assert split.gallery.names == split.queries.names == split.training.names == [f"s{p}" for p in range(1, 41)]
    assert split.new_gallery is None
    assert split.new_queries is None


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(3, 7), min_size=4, max_size=12),
    queries=st.integers(1, 2),
    fraction=st.sampled_from([0.0, 0.4, 0.5]),
    split_seed=st.integers(0, 2**32 - 1),
    shuffled=st.booleans(),
)
def test_a_split_is_disjoint_complete_and_labelled(
    counts: list[int], queries: int, fraction: float, split_seed: int, shuffled: bool
):
    some = numbered(counts, np.random.default_rng(0) if shuffled else None)
    split = split_of(some, queries_per_identity=queries, new_people=fraction, split_seed=split_seed)
    parts = [part for part in (split.gallery, split.queries, split.new_gallery, split.new_queries) if part]
    assert sorted(position for part in parts for position in positions(part)) == list(range(len(some)))
    for part in parts:
        assert positions(part) == sorted(positions(part))
        assert sorted(set(part.labels.tolist())) == list(range(part.num_identities))
        for position, label in zip(positions(part), part.labels, strict=True):
            assert part.names[label] == some.names[some.labels[position]]
    assert positions(split.training) == positions(split.gallery)
    assert split.training.labels.tolist() == split.gallery.labels.tolist()
    assert split.gallery.names == split.queries.names
    assert np.bincount(split.queries.labels).tolist() == [queries] * split.queries.num_identities
    assert (split.new_gallery is None) == (split.new_queries is None) == (fraction == 0)
    if split.new_gallery is not None and split.new_queries is not None:
        assert split.new_gallery.names == split.new_queries.names
        assert split.new_gallery.num_identities == round(fraction * len(counts))
        assert np.bincount(split.new_queries.labels).tolist() == [queries] * split.new_queries.num_identities


@settings(max_examples=30, deadline=None)
@given(fraction=st.floats(0.1, 0.9), split_seed=st.integers(0, 2**32 - 1))
def test_a_persons_queries_do_not_depend_on_new_people(fraction: float, split_seed: int):
    some = numbered([6] * 20)
    plain = split_of(some, split_seed=split_seed)
    with_new = split_of(some, split_seed=split_seed, new_people=fraction)
    assert with_new.new_queries is not None
    assert positions(plain.queries) == sorted(positions(with_new.queries) + positions(with_new.new_queries))


def test_split_seed_alone_decides_the_draw():
    some = numbered([8] * 10)
    one, again, other = (split_of(some, split_seed=seed, new_people=0.3, seed=i) for i, seed in enumerate((1, 1, 2)))
    assert positions(one.queries) == positions(again.queries)
    assert one.gallery.names == again.gallery.names
    assert one.gallery.names != other.gallery.names


def test_another_split_seed_draws_other_queries():
    some = numbered([8] * 10)
    assert positions(split_of(some, split_seed=1).queries) != positions(split_of(some, split_seed=2).queries)


def test_people_draw_independently():
    split = split_of(numbered([10] * 30), queries_per_identity=1)
    assert len({position % 10 for position in positions(split.queries)}) > 3


def test_too_few_photographs_names_everyone_and_the_ways_out():
    message = (
        r"person 1 has 3, person 3 has 1, but queries_per_identity=3 needs at least 4 of each person; "
        r"lower queries_per_identity, or leave these people out with min_faces=4"
    )
    with pytest.raises(ValueError, match=message):
        split_of(numbered([4, 3, 5, 1]), dataset="folder", root="photos", new_people=0.01)


def test_too_few_photographs_of_many_people_names_ten():
    with pytest.raises(ValueError, match=r"person 9 has 1 and 2 more, but .*; lower queries_per_identity$"):
        split_of(numbered([1] * 12))


@pytest.mark.parametrize(("fraction", "found"), [(0.2, "1 of 6 people new"), (0.9, "leaves 1 known")])
def test_at_least_two_people_are_new_and_two_known(fraction: float, found: str):
    with pytest.raises(ValueError, match=rf"new_people={fraction} .*{found}.*at least 2 of each"):
        split_of(numbered([5] * 6), new_people=fraction)


def test_the_papers_data_keep_their_own_split(tmp_path: Path):
    split = load_split(Config(dataset="facescrub", root=str(ddh(tmp_path, (PIXELS, [0, 1, 2, 3] * 2)))))
    np.testing.assert_array_equal(flat(split.training), PIXELS)
    np.testing.assert_array_equal(flat(split.gallery), PIXELS)
    np.testing.assert_array_equal(flat(split.queries), PIXELS[:2])
    assert split.queries.labels.tolist() == [0, 1]
    assert split.queries.names == split.gallery.names == ["0", "1", "2", "3"]
    assert split.new_gallery is None


def test_new_people_of_the_papers_data_bring_their_test_images(tmp_path: Path):
    ddh(tmp_path, (PIXELS, [0, 1, 2, 3] * 2), (PIXELS[:4], [0, 1, 2, 3]))
    split = load_split(Config(dataset="facescrub", root=str(tmp_path), new_people=0.5, split_seed=3))
    assert split.new_gallery is not None
    assert split.new_queries is not None
    new, known = [int(name) for name in split.new_gallery.names], [int(name) for name in split.gallery.names]
    assert sorted(new + known) == [0, 1, 2, 3]
    for people, gallery, queries in (
        (new, split.new_gallery, split.new_queries),
        (known, split.gallery, split.queries),
    ):
        np.testing.assert_array_equal(flat(gallery), PIXELS[[*people, *(person + 4 for person in people)]])
        np.testing.assert_array_equal(flat(queries), PIXELS[people])
        assert queries.labels.tolist() == [0, 1]


# --- The validation part ----------------------------------------------------------------------------------------------


def parts(split: Split) -> dict[str, Faces]:
    """The parts of a split that there are, by name; its training part is its gallery."""
    named = {name: getattr(split, name) for name in ("gallery", "queries", "new_gallery", "new_queries")}
    return {name: part for name, part in named.items() if part is not None}


@settings(max_examples=40, deadline=None)
@given(
    each=st.integers(6, 9),
    people=st.integers(16, 20),
    fraction=st.sampled_from([0.0, 0.25, 0.5]),
    split_seed=st.integers(0, 2**32 - 1),
)
def test_the_validation_split_holds_no_query_and_nobody_unseen(
    each: int, people: int, fraction: float, split_seed: int
):
    some = numbered([each] * people, np.random.default_rng(0))
    fields = {"new_people": fraction, "split_seed": split_seed}
    whole = split_of(some, **fields)
    validation = split_of(some, **fields, scored_on="validation")
    used = sorted(position for part in parts(validation).values() for position in positions(part))
    assert used == positions(whole.training)  # each of them once, and nothing else


def test_the_validation_split_is_a_split_of_the_training_faces():
    config = Config(new_people=0.25, split_seed=3)
    one = load_split(Config(new_people=0.25, split_seed=3, scored_on="validation"))
    other = validation_split(load_split(config).training)
    assert parts(one).keys() == parts(other).keys() == {"gallery", "queries", "new_gallery", "new_queries"}
    for name, part in parts(one).items():
        assert part.fingerprint() == parts(other)[name].fingerprint()
        assert part.names == parts(other)[name].names
    assert one.training.fingerprint() == one.gallery.fingerprint()


def test_the_validation_split_of_orl_is_two_of_seven_and_a_quarter_of_the_people():
    split = load_split(Config(scored_on="validation"))
    assert {name: (len(part), part.num_identities) for name, part in parts(split).items()} == {
        "gallery": (150, 30),
        "queries": (60, 30),
        "new_gallery": (50, 10),
        "new_queries": (20, 10),
    }


def test_too_few_training_faces_for_a_validation_part_are_named():
    with pytest.raises(ValueError, match=r"person 0 has 2, .*queries_per_identity=2 needs at least 3 of each person"):
        split_of(numbered([5] * 8), scored_on="validation")
