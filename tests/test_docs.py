"""The reference page says what the source says."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from ablations.run_directory import measure, write_run
from ablations.suite import KEYS, Suite, load_suite
from ablations.tuning import tuning_suite
from dcbh_core import Config, Objective, Outputs, Sizes, Split, evaluate, search, train
from docs.make_reference import PAGE, attributes, filled
from tests.conftest import synthetic_faces

TEXT = PAGE.read_text("utf-8")
HEAD = "from dcbh_core import Head\n\n\nclass MeanHead(Head):\n    pass\n"


def rows(header: str) -> list[list[str]]:
    """The rows of the page's table that begins with ``header``."""
    [table] = re.findall(rf"^\| {re.escape(header)} \|.*\n\| ---.*\n((?:\|.*\n)+)", TEXT, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def test_the_page_is_what_the_script_makes_of_it():
    assert filled(TEXT) == TEXT, "run: python -m docs.make_reference"


def test_a_part_of_the_page_is_made_anew_and_the_rest_left():
    page = "before\n<!-- made: recipes -->\nold\n<!-- end -->\nafter <!-- end -->\n"
    made = filled(page)
    assert made.startswith("before\n<!-- made: recipes -->\n\n| field |")
    assert made.endswith("<!-- end -->\nafter <!-- end -->\n")
    assert "old" not in made


def test_a_name_that_the_source_does_not_know_is_an_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        filled("<!-- made: dcbh_core.no_such_thing -->\n<!-- end -->")


def test_attributes_are_read_over_several_lines():
    class Described:
        """One.

        Attributes:
            first: A sentence
                over two lines.
            second: Another.

        Raises:
            third: No attribute.
        """

    assert attributes(Described) == {"first": "A sentence over two lines.", "second": "Another."}


@pytest.mark.parametrize("described", [Config, Outputs, Sizes])
def test_every_field_is_described(described):
    fields = getattr(described, "_fields", None) or [field.name for field in dataclasses.fields(described)]
    assert set(attributes(described)) == set(fields)


def test_every_fact_of_an_objective_is_described():
    assert set(attributes(Objective)) == set(Objective.__annotations__)


@pytest.fixture
def example(tmp_path: Path) -> tuple[dict, Suite]:
    """The page's suite, as YAML and loaded from a file, beside the head that it names."""
    [text] = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (tmp_path / "my_suite.yaml").write_text(text)
    (tmp_path / "my_head.py").write_text(HEAD)
    return yaml.safe_load(text), load_suite(str(tmp_path / "my_suite.yaml"))


def test_the_suite_on_the_page_has_every_key_that_there_is(example):
    assert sorted(example[0]) == sorted(KEYS)


def test_the_suite_on_the_page_expands_to_the_runs_that_it_says(example):
    suite = example[1]
    runs, points = suite.runs(), suite.points()
    assert f"makes {len(suite.variants)} variants at {len(points)} points: {len(runs)} runs." in TEXT


def test_the_tuning_on_the_page_expands_to_the_runs_that_it_says(example):
    trials = tuning_suite(example[1])
    assert f"tries {len(trials.variants)} settings with two seeds each: {len(trials.runs())} runs." in TEXT


def named(faces):
    return dataclasses.replace(faces, files=np.array([f"{i}.png" for i in range(len(faces))]))


@pytest.fixture(scope="module")
def trained():
    known, new = named(synthetic_faces(4, 6)), named(synthetic_faces(2, 5, seed=1))
    gallery, queries = known.select(np.arange(24) % 3 > 0), known.select(np.arange(24) % 3 == 0)
    new_gallery, new_queries = new.select(np.arange(10) % 5 > 0), new.select(np.arange(10) % 5 == 0)
    config = Config(width=0.05, bits=12, epochs=1, device="cpu", new_people=0.25)
    return config, Split(gallery, gallery, queries, new_gallery, new_queries), *train(config, gallery)


def shape_and_type(array: np.ndarray, names: dict[int, str]) -> str:
    """As the page writes it, with names for the lengths of axes."""
    axes = ", ".join(names.get(length, str(length)) for length in array.shape)
    return f"`({axes}{',' if array.ndim == 1 else ''})` {array.dtype}"


def test_the_shapes_on_the_page_are_those_that_come_out(trained):
    _, split, model, _ = trained
    names = {5: "n", 12: "bits", 72: "d", 8: "q", 16: "g", 4: "k", 13: "bits + 1"}
    images = split.gallery.images[:5]
    queries, gallery = model.encode(split.queries.images), model.encode(split.gallery.images)
    distances, indices = search(queries, gallery, 4)
    evaluation = evaluate(queries, split.queries.labels, gallery, split.gallery.labels)
    given = {
        "encode": [model.encode(images)],
        "describe": [model.describe(images)],
        "binarize": [model.binarize(model.describe(images))],
        "search": [distances, indices],
        "evaluate": [evaluation.ap, evaluation.retrieved, evaluation.relevant],
    }
    said = {re.search(r"(\w+)\(", call)[1]: re.findall(r"`\([^`]*\)` \w+", gives) for call, _, gives in rows("call")}  # type: ignore[index]
    assert said == {name: [shape_and_type(array, names) for array in arrays] for name, arrays in given.items()}


def test_the_arrays_on_the_page_are_those_of_a_run(trained):
    _, split, model, _ = trained
    arrays = measure(model, split).arrays
    lengths = {12: "bits", 8: "queries", 16: "gallery", 2: "new_queries"}
    said = {key.strip("`"): described for key, described, _ in rows("key")}
    made = {}
    for name, array in arrays.items():
        own = lengths if not name.startswith("new_gallery") else {**lengths, 8: "new_gallery"}
        if name.endswith("_files"):
            assert array.dtype.kind == "U"
            made[name] = shape_and_type(array, own).replace(str(array.dtype), "text")
        elif name.endswith("_names"):
            assert array.dtype.kind == "U" and len(array) == arrays[name.replace("names", "labels")].max() + 1
        elif name.startswith("ap_"):
            asked_by = "new_queries" if "unseen" in name else "queries"
            assert shape_and_type(array, own) == f"`({asked_by},)` float64"
        else:
            made[name] = shape_and_type(array, own)
    texts = {"queries_names": "`(people,)` text", "new_queries_names": "`(new people,)` text"}
    assert said == made | texts | {"ap_METRIC": "`(queries,)` float64"}


def test_the_files_on_the_page_are_those_of_a_run(trained, tmp_path):
    config, split, model, history = trained
    write_run(tmp_path, config, model, history, measure(model, split), {"train_s": 1.0})
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    said = {name.strip("`") for name, _ in rows("file")}
    assert said == written | {"notebook.ipynb", "run.json"}  # which the runner adds


def test_the_block_sizes_on_the_page_are_those_that_a_head_takes():
    sizes = {name.strip("`"): taken for name, _, taken, *_ in rows("head")}
    assert sizes["block"] == "3, 4, 5, 6, 7, 8, ..."
    assert sizes["soft_block"] == "2, 4, 6, 8, ..."
