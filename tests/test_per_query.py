"""The AP of each query is kept to five digits, with the person on it, and without the person's name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations import per_query
from ablations.per_query import PerQuery, question_of
from ablations.run_directory import QUESTIONS


def example(names: list[str], ap: list[float]) -> PerQuery:
    return PerQuery({"map": np.array(ap), "unseen_map": np.array(ap[:1])}, {"queries": np.array(names)})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_ap_comes_back_to_five_digits(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("ap") / "a.npz"
    per_query.write(path, [example(["a"] * len(values), values), None, example(["b"], [0.5])])
    first, none, last = per_query.read(path)
    assert first is not None
    np.testing.assert_allclose(first.ap["map"], values, atol=0.5 / per_query.STEPS + 1e-12)
    np.testing.assert_allclose(first.ap["unseen_map"], values[:1], atol=1e-5)
    assert none is None
    assert last is not None and last.of("map") is not None


def test_a_person_has_the_same_number_in_all_files_and_no_name(tmp_path: Path) -> None:
    names = ["Ann", "Bob", "\udcff not UTF-8", "Ann"]
    per_query.write(tmp_path / "a.npz", [example(names, [0.1, 0.2, 0.3, 0.4])])
    per_query.write(tmp_path / "b.npz", [example(["Zoe", "Bob"], [0.1, 0.2]), example(["Ann"], [0.1])])
    [first], (second, third) = (per_query.read(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert first is not None and second is not None and third is not None
    ann, bob, odd, again = first.people["queries"].tolist()
    assert ann == again and len({ann, bob, odd}) == 3
    assert second.people["queries"].tolist()[1] == bob and third.people["queries"].tolist() == [ann]
    assert b"Ann" not in (tmp_path / "a.npz").read_bytes()
    assert ann == str(0x17239B6E)  # also in files that were recorded long ago


@pytest.mark.parametrize("content", [None, b"", b"PK no archive", "array"])
def test_a_damaged_evaluation_is_none(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "evaluation.npz"
    if content == "array":
        np.savez(path, ap_map=np.zeros(2), queries_names=np.array(["a"]), queries_labels=np.array([0, 7]))
    elif isinstance(content, bytes):
        path.write_bytes(content)
    assert per_query.of_run(tmp_path) is None


def test_a_byte_that_is_damaged_anywhere_stops_nothing(tmp_path: Path) -> None:
    """Compressed as a run's is: what comes of it is none, or what the file still says."""
    path, rng = tmp_path / "evaluation.npz", np.random.default_rng(0)
    labels = np.arange(40) % 3
    np.savez_compressed(path, ap_map=rng.random(40), queries_names=np.array(["a", "b", "c"]), queries_labels=labels)
    whole, none = path.read_bytes(), 0
    for _ in range(300):
        at = int(rng.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :])
        none += per_query.of_run(tmp_path) is None
    assert none > 100


def test_what_a_run_wrote_is_read_with_the_names_of_its_people(tmp_path: Path) -> None:
    path, names = tmp_path / "evaluation.npz", np.array(["Ann", "\udcff", "never asked for"])
    known = {"ap_map": np.array([0.1, 0.2, 0.3]), "queries_names": names, "queries_labels": np.array([1, 0, 1])}
    np.savez(path, **known, ap_unseen_map=np.array([0.4]))
    run = per_query.of_run(tmp_path)
    assert run is not None
    ap, people = run.of("map") or pytest.fail("nothing")
    assert (ap.tolist(), people.tolist()) == ([0.1, 0.2, 0.3], ["\udcff", "Ann", "\udcff"])
    assert run.of("held_out_map") is None
    assert run.of("unseen_map") is None  # nobody knows whom its query shows
    assert run.people.keys() == {"queries"}


def test_each_question_is_of_the_people_on_its_own_queries() -> None:
    people = {"queries": np.array(["known"]), "new_queries": np.array(["unseen"])}
    run = PerQuery({f"{question.prefix}map": np.array([0.5]) for question in QUESTIONS}, people)
    found = {question.title: (run.of(f"{question.prefix}map") or pytest.fail("nothing"))[1] for question in QUESTIONS}
    assert {title: who.item() for title, who in found.items()} == {
        **dict.fromkeys(("seen", "held out", "open, known"), "known"),
        **dict.fromkeys(("unseen", "open, unseen"), "unseen"),
    }


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_a_metric_belongs_to_the_question_of_its_prefix(question) -> None:
    assert question_of(f"{question.prefix}map") == question
    assert question_of(f"{question.prefix}precision_at_50") == question
