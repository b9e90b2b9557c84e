"""Suites expand into the cells that they name, take settings, and say in one line what is wrong with their file."""

import re
from pathlib import Path

import pytest

from ablations import suite as suites
from ablations.suite import load_suite, parse_yaml
from dcbh_core.config import OBJECTIVE_DEFAULTS
from tests.stub_suite import GRIDS, write_suite


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        *[("orl_quick", 18), ("orl", 240), ("orl_published", 3), ("lfw", 9), ("paper", 108)],
        *[("peers_orl", 96), ("peers_lfw", 96), ("peers_lfw_split1", 30)],
        *[("ingredients_orl", 35), ("ingredients_lfw", 35)],
    ],
)
def test_shipped_suites_expand(name: str, cells: int) -> None:
    suite = load_suite(name)
    if name == "paper":
        suite = suite.with_settings({"root": "somewhere"})
    assert len(suite.cells()) == len(suite) == cells


PAPERS_ABLATIONS = ["lfw", "orl", "orl_published", "orl_quick", "paper"]
PEERS = ["peers_lfw", "peers_lfw_split1", "peers_orl"]


def test_every_shipped_suite_is_tested() -> None:
    assert suites.suite_names() == sorted([*PAPERS_ABLATIONS, *PEERS, "ingredients_lfw", "ingredients_orl"])


@pytest.mark.parametrize("name", PEERS)
def test_suites_of_peers_write_out_every_field_of_each_objective(name: str) -> None:
    suite = load_suite(name)
    assert {suite.field(variant, "objective") for variant in suite.variants} >= set(OBJECTIVE_DEFAULTS)
    for variant, fields in suite.variants.items():
        own = OBJECTIVE_DEFAULTS[fields["objective"]]
        assert set(fields) >= {*own, "objective", "learning_rate"}, variant


def test_the_second_split_differs_from_the_first_in_its_seed_alone() -> None:
    first, second = load_suite("peers_lfw"), load_suite("peers_lfw_split1")
    assert second.variants == first.variants
    assert second.base == {**first.base, "split_seed": 1}


@pytest.mark.parametrize("name", ["peers_lfw", "peers_orl"])
def test_suites_of_peers_have_five_seeds_at_the_shortest_and_the_longest_code(name: str) -> None:
    suite = load_suite(name)
    assert {point["bits"]: suite.seeds_at(point) for point in suite.points(without="seed")} == {
        12: 5,
        24: 3,
        36: 3,
        48: 5,
    }
    assert list(suite.grid) == ["bits", "seed"]
    assert suite.grid == {"bits": [12, 24, 36, 48], "seed": [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("name", PAPERS_ABLATIONS)
def test_shipped_suites_write_out_the_weights_of_the_paper(name: str) -> None:
    base = load_suite(name).base
    paper = {"feature_weight": 1.0, "center_weight": 1e-4, "quantization_weight": 0.1, "quantization_target": 0.5}
    network = {"objective": "dcbh", "block_size": 6, "head": "block", "multi_scale": True}
    assert {**base, **paper, **network} == base


def test_the_paper_suite_asks_for_its_data() -> None:
    with pytest.raises(ValueError, match=r"paper.*needs root"):
        load_suite("paper").cells()


def test_null_takes_the_base_value_away(tmp_path: Path) -> None:
    variants = {"full": {}, "none": {"quantization_weight": 0, "quantization_target": None}}
    path = write_suite(tmp_path / "s.yaml", base={"quantization_target": 0.5}, variants=variants)
    assert load_suite(path).cells()[1].config.quantization_target is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"varients": {}}, "suite 's': the file: unknown key 'varients'; did you mean 'variants'"),
        ({"title": None}, "title must be a text"),
        ({"about": ["x"]}, "about must be a text"),
        ({"variants": {}}, "at least one variant"),
        ({"variants": ["full"]}, "variants must map names to values"),
        ({"variants": {"full": {}, False: {}}}, "name False must be a text"),
        ({"variants": {"full": {}, "fc": "fc"}}, "variant 'fc' must map names to values"),
        (
            {"variants": {"full": {}, "fc": {"hed": "fc"}}},
            "variant 'fc': unknown config field 'hed'; did you mean 'head'",
        ),
        ({"variants": {"full": {}, "fc": {"bits": 8}}}, "variant 'fc' sets bits, which is a grid axis"),
        ({"base": {"widht": 1}}, "base: unknown config field 'widht'; did you mean 'width'"),
        ({"base": {"seed": 1}}, "seed is in base and in grid"),
        ({"grid": {"bit": [1]}}, "grid: unknown config field 'bit'; did you mean 'bits'"),
        ({"grid": {"bits": 12}}, "grid axis bits must be a list of distinct values, not 12"),
        ({"grid": {"bits": []}}, "grid axis bits must be a list of distinct values"),
        ({"grid": {"bits": [12, 12]}}, "grid axis bits must be a list of distinct values"),
        (
            {"grid": [{"bits": [12]}, {"seed": [0]}]},
            "all grids must be over the same fields in one order",
        ),
        ({"grid": [{"bits": [12]}, {"bits": 24}]}, "grid axis bits must be a list of distinct values, not 24"),
        ({"tuning": {"rates": [1]}}, "tuning: unknown key 'rates'"),
        ({"tuning": {"learning_rate": [1.0]}}, "tuning needs at, learning_rate and own"),
        (
            {"tuning": {"at": {}, "learning_rate": [1.0], "own": {"ful": {"center_weight": [0]}}}},
            "unknown variant to tune 'ful'; did you mean 'full'",
        ),
        (
            {"tuning": {"at": {}, "learning_rate": 1.0, "own": {}}},
            "tuning: learning_rate must be a list of distinct values, not 1.0",
        ),
        (
            {"tuning": {"at": {}, "learning_rate": [1.0], "own": {"full": {"bits": [1], "seed": [0]}}}},
            "tuning: own: full must be one field, not ['bits', 'seed']",
        ),
        ({"reference": "fulll"}, "unknown reference variant 'fulll'; did you mean 'full'"),
        ({"base": {"head": "blok"}}, "suite 's', full 12 bits seed 0: unknown head 'blok'; did you mean 'block'"),
        ({"variants": {"full": {}, "x": {"center_weight": 1.0e-4}}}, "variant 'x' is the same experiment as 'full' at"),
    ],
)
def test_bad_suites_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_suite(write_suite(tmp_path / "s.yaml", **changes)).cells()


@pytest.mark.parametrize(
    ("text", "message"), [("a: 1\nb: 2\na: 3", "key 'a' is given twice"), ("a: [1", "this is no YAML")]
)
def test_bad_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown suite 'orl_quik'; did you mean 'orl_quick'"):
        load_suite("orl_quik")


def test_a_missing_suite_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        load_suite(str(tmp_path / "none.yaml"))


def test_variants_other_than_the_reference_may_be_equal(tmp_path: Path) -> None:
    variants = {"full": {}, "a": {"head": "fc"}, "b": {"head": "fc"}}
    cells = load_suite(write_suite(tmp_path / "s.yaml", variants=variants, grid={})).cells()
    assert [cell.variant for cell in cells] == ["full", "a", "b"]


def test_the_reference_can_be_named(tmp_path: Path) -> None:
    assert load_suite(write_suite(tmp_path / "s.yaml", reference="no_center")).reference == "no_center"


@pytest.mark.parametrize(
    ("settings", "base", "grid"),
    [
        ({"width": 0.5}, {"width": 0.5}, {}),
        ({"bits": 24}, {}, {"bits": [24]}),
        ({"bits": [24, 36]}, {}, {"bits": [24, 36]}),
        ({"width": [0.5, 1.0]}, {"width": None}, {"width": [0.5, 1.0]}),
    ],
)
def test_settings(tmp_path: Path, settings: dict, base: dict, grid: dict) -> None:
    before = load_suite(write_suite(tmp_path / "s.yaml"))
    after = before.with_settings(settings)
    expected = {**before.base, **base}
    assert after.base == {name: value for name, value in expected.items() if value is not None}
    assert after.grid == {**before.grid, **grid}


def test_the_points_of_several_grids_come_grid_by_grid(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    points = [(point["bits"], point["seed"]) for point in suite.points()]
    assert points == [(12, 0), (12, 1), (12, 2), (24, 0), (24, 1), (48, 0), (48, 1)]
    assert suite.points(without="seed") == [{"bits": 12}, {"bits": 24}, {"bits": 48}]
    assert len(suite) == len(suite.cells()) == 14


def test_a_point_of_two_grids_is_one_point(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).with_settings({"bits": 36})
    assert suite.points() == [{"bits": 36, "seed": seed} for seed in (0, 1, 2)]


@pytest.mark.parametrize(
    ("settings", "points"),
    [
        ({"bits": 48}, [(48, 0), (48, 1)]),
        ({"bits": [48, 12]}, [(12, 0), (12, 1), (12, 2), (48, 0), (48, 1)]),
        ({"seed": 2}, [(12, 2)]),
        ({"bits": 48, "seed": [0, 2]}, [(48, 0), (48, 2)]),
        ({"seed": [7]}, [(12, 7), (24, 7), (48, 7)]),
        ({"bits": [12, 36]}, [(bits, seed) for bits in (12, 36) for seed in (0, 1, 2)]),
    ],
)
def test_settings_select_among_the_planned_points(tmp_path: Path, settings: dict, points: list) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).with_settings(settings)
    assert [(point["bits"], point["seed"]) for point in suite.points()] == points


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"center_weight": 1.0}, "center_weight cannot be set: it is what variant 'no_center' is about"),
        ({"widht": 1.0}, "unknown config field 'widht'; did you mean 'width'"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_suite(write_suite(tmp_path / "s.yaml")).with_settings(settings)


def test_only_selects_variants_by_name_and_pattern() -> None:
    assert load_suite("orl").select(["no_c*", "fc"]) == ["no_center", "fc"]


def test_only_refuses_an_unknown_variant() -> None:
    with pytest.raises(ValueError, match="unknown variant 'no_centre'; did you mean 'no_center'"):
        load_suite("orl").select(["no_centre"])


@pytest.mark.parametrize("value", [1e-5, 0.5, None, True, "fc", [1, 2], "a b: c"])
def test_values_survive_the_command_line(value: object) -> None:
    assert parse_yaml(suites.as_yaml(value)) == value
