"""Suites expand into the runs that they name, extend each other, take settings, and say what is wrong in one line."""

import re
import time
from pathlib import Path

import pytest

from ablations import suite as suites
from ablations.suite import REPEATS, load_suite, parse_yaml
from dcbh_core.losses import OBJECTIVES
from dcbh_core.methods import find_objective
from dcbh_core.peers import PEERS
from tests.stub_suite import GRIDS, OWN, write_own, write_suite


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        *[("orl_quick", 18), ("orl", 240), ("orl_published", 3), ("lfw", 9), ("paper", 108)],
        *[("methods_lfw", 81), ("methods_orl", 81), ("lengths_lfw", 108), ("head_loss_lfw", 36)],
        *[("recipes_lfw", 81), ("last_layer_lfw", 42), ("recipes_orl", 81), ("refitted_lfw", 18)],
        *[("ingredients_orl", 35), ("ingredients_lfw", 35)],
    ],
)
def test_shipped_suites_expand(name: str, runs: int) -> None:
    suite = load_suite(name)
    if name == "paper":
        suite = suite.with_settings({"root": "somewhere"})
    assert len(suite.runs()) == len(suite) == runs


def test_the_suite_of_own_methods_expands() -> None:
    pytest.importorskip("pytorch_metric_learning")
    assert len(load_suite("own_methods").runs()) == 12


def test_peers_write_out_every_constant_of_each_objective() -> None:
    suite = load_suite("methods_lfw")
    objectives = {fields["objective"] for fields in suite.variants.values()}
    assert {name for name in objectives if ".py:" not in name} == {*OBJECTIVES, *PEERS}
    for variant, fields in suite.variants.items():
        constants = find_objective(fields["objective"]).constants
        assert set(fields) >= {*constants, "objective", "learning_rate"}, variant


def test_all_methods_have_three_seeds_on_each_split() -> None:
    suite = load_suite("methods_lfw")
    [point] = suite.points(without=REPEATS)
    assert suite.repeats_at(point) == 3 * len(suite.grid["split_seed"])


def test_the_ablations_of_the_paper_write_out_its_weights() -> None:
    base = load_suite("orl_quick").base
    paper = {"feature_weight": 1.0, "center_weight": 1e-4, "quantization_weight": 0.1, "quantization_target": 0.5}
    network = {"objective": "dcbh", "block_size": 6, "head": "block", "multi_scale": True}
    assert {**base, **paper, **network} == base


def test_the_paper_suite_asks_for_its_data() -> None:
    with pytest.raises(ValueError, match=r"paper.*needs root"):
        load_suite("paper").runs()


def test_null_takes_the_base_value_away(tmp_path: Path) -> None:
    variants = {"full": {}, "none": {"quantization_weight": 0, "quantization_target": None}}
    path = write_suite(tmp_path / "s.yaml", base={"quantization_target": 0.5}, variants=variants)
    assert load_suite(path).runs()[1].config.quantization_target is None


NO_NAMES = ("a\nb", "a\u2028b", "a\x1b[31mb", " ", "")
TUNING = {"at": {}, "learning_rate": [1.0], "own": {"full": {"center_weight": [0]}}}


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
        ({"base": ["bits"]}, "base must map names to values"),
        ({"grid": {"bit": [1]}}, "grid: unknown config field 'bit'; did you mean 'bits'"),
        ({"grid": {"bits": 12}}, "grid axis bits must be a list of distinct values, not 12"),
        ({"grid": {"bits": []}}, "grid axis bits must be a list of distinct values"),
        ({"grid": {"bits": [12, 12]}}, "grid axis bits must be a list of distinct values"),
        ({"grid": {"memory": [0.0, 1.0]}}, "memory cannot be an axis, as results have it; make variants of its values"),
        ({"variants": {"full": {}, "chance": {"head": "fc"}}}, "variant 'chance': tables have a row of this name"),
        ({"grid": {"objective": "csq"}}, "grid axis objective must be a list of distinct values, not 'csq'"),
        ({"grid": [12]}, "grid must map names to values, not be 12"),
        *[({"grid": grid}, "suite 's': grid must name fields") for grid in ({}, None, [], [{}], [{"bits": [12]}, {}])],
        (
            {"grid": [{"bits": [12]}, {"seed": [0]}]},
            "all grids must be over the same fields in one order",
        ),
        ({"grid": [{"bits": [12]}, {"bits": 24}]}, "grid axis bits must be a list of distinct values, not 24"),
        ({"extends": ["orl"]}, "extends must name a suite, not ['orl']"),
        ({"extends": "orl_quik"}, "unknown suite 'orl_quik'; did you mean 'orl_quick'"),
        ({"drop": ["fc"]}, "unknown variant to drop 'fc'"),
        ({"extends": "orl_quick", "drop": "fcc"}, "unknown variant to drop 'fcc'; did you mean 'fc'"),
        ({"extends": "orl_quick", "drop": [{"fc": 1}]}, "drop must name variants, not [{'fc': 1}]"),
        ({"tuning": {"rates": [1]}}, "tuning: unknown key 'rates'"),
        ({"tuning": {"learning_rate": [1.0]}}, "tuning needs at, learning_rate and own"),
        (
            {"tuning": {**TUNING, "own": {"ful": {"center_weight": [0]}}}},
            "unknown variant to tune 'ful'; did you mean 'full'",
        ),
        ({"tuning": {**TUNING, "learning_rate": 1.0}}, "tuning: learning_rate must be a list of distinct values"),
        ({"tuning": {**TUNING, "own": {}}}, "tuning: own must name at least one variant"),
        ({"tuning": {**TUNING, "own": {"full": {}}}}, "tuning: own: full must name at least one field"),
        (
            {"tuning": {**TUNING, "own": {"full": {"scales": [1]}}}},
            "tuning: own: full: unknown config field 'scales'; did you mean 'scale'",
        ),
        (
            {"tuning": {**TUNING, "own": {"full": {"center_weight": 0}}}},
            "tuning: own: full: center_weight must be a list of distinct values, not 0",
        ),
        ({"reference": "fulll"}, "unknown reference variant 'fulll'; did you mean 'full'"),
        ({"base": {"head": "blok"}}, "suite 's', full 12 bits seed 0: unknown head 'blok'; did you mean 'block'"),
        ({"variants": {"full": {}, "x": {"objective": "csk"}}}, "suite 's': variant 'x': unknown objective 'csk'"),
        ({"base": {"objective": "csk"}}, "suite 's': base: unknown objective 'csk'"),
        (
            {"variants": {"full": {}, "x": {"center_weight": 1.0e-4}}},
            "suite 's', x 12 bits seed 0: variant 'x' is the same experiment as 'full'",
        ),
        (
            {"variants": {"full": {}, "x": {"head": "fc"}, "y": {"head": "fc"}}},
            "suite 's', y 12 bits seed 0: variant 'y' is the same experiment as 'x'",
        ),
        *[({"variants": {"full": {}, name: {"head": "fc"}}}, f"variant {name!r}: a name must be") for name in NO_NAMES],
    ],
)
def test_bad_suites_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_suite(write_suite(tmp_path / "s.yaml", **changes)).runs()


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


@pytest.mark.parametrize("name", ["orl_quick", str(suites.SUITES / "orl_quick.yaml")], ids=["by name", "by path"])
def test_results_of_the_kits_suites_are_kept_in_the_kit(name: str) -> None:
    assert load_suite(name).directory == suites.SUITES.parent / "results"


def test_results_of_a_suite_of_ones_own_are_kept_beside_it(tmp_path: Path) -> None:
    assert load_suite(write_suite(tmp_path / "s.yaml")).directory == tmp_path


def test_without_a_grid_each_variant_is_one_run(tmp_path: Path) -> None:
    content = {"title": "t", "about": "a", "variants": {"full": None, "fc": {"head": "fc"}}}
    runs = load_suite(write_suite(tmp_path / "s.yaml", "{}", **content)).runs()
    assert [run.label for run in runs] == ["full", "fc"]


def test_the_reference_can_be_named(tmp_path: Path) -> None:
    assert load_suite(write_suite(tmp_path / "s.yaml", reference="no_center")).reference == "no_center"


# Suites that extend others.


def write_child(path: Path, **content: object) -> suites.Suite:
    """A suite file of these keys alone, loaded."""
    return load_suite(write_suite(path, "{}", **content))


def test_a_suite_without_changes_is_the_one_that_it_extends(tmp_path: Path) -> None:
    parent = load_suite(write_suite(tmp_path / "parent.yaml", tuning=TUNING, reference="no_center"))
    child = write_child(tmp_path / "child.yaml", extends="parent.yaml")
    for field in ("title", "about", "base", "variants", "grids", "reference", "tuning"):
        assert getattr(child, field) == getattr(parent, field)


def test_the_base_is_laid_over_that_of_the_extended_suite_field_by_field(tmp_path: Path) -> None:
    write_suite(tmp_path / "parent.yaml", base={"epochs": 5, "width": 0.25, "augment": False})
    child = write_child(tmp_path / "child.yaml", extends="parent.yaml", base={"epochs": 2, "augment": None})
    assert child.base == {"epochs": 2, "width": 0.25, "augment": None}


def test_variants_are_laid_over_those_of_the_extended_suite_field_by_field(tmp_path: Path) -> None:
    variants = {"full": {}, "fc": {"head": "fc", "epochs": 5}}
    write_suite(tmp_path / "parent.yaml", variants=variants)
    own = {"new": None, "fc": {"epochs": 9, "seed": None}}
    child = write_child(tmp_path / "child.yaml", extends="parent.yaml", variants=own, grid={"bits": [12]})
    assert child.variants == {"full": {}, "fc": {"head": "fc", "epochs": 9, "seed": None}, "new": {}}


@pytest.mark.parametrize("drop", ["no_center", ["no_center"]])
def test_dropped_variants_are_not_taken_over(tmp_path: Path, drop: object) -> None:
    write_suite(tmp_path / "parent.yaml")
    assert list(write_child(tmp_path / "child.yaml", extends="parent.yaml", drop=drop).variants) == ["full"]


def test_a_dropped_variant_can_be_written_anew(tmp_path: Path) -> None:
    write_suite(tmp_path / "parent.yaml", variants={"full": {}, "fc": {"head": "fc", "epochs": 5}})
    own = {"fc": {"head": "direct", "block_size": None}}
    child = write_child(tmp_path / "child.yaml", extends="parent.yaml", drop="fc", variants=own)
    assert child.variants["fc"] == {"head": "direct", "block_size": None}


def test_the_grid_takes_the_place_of_that_of_the_extended_suite(tmp_path: Path) -> None:
    write_suite(tmp_path / "parent.yaml", grid=GRIDS)
    assert write_child(tmp_path / "child.yaml", extends="parent.yaml", grid={"bits": [8]}).grids == [{"bits": [8]}]


def test_a_suite_extends_one_of_the_kit_by_its_name(tmp_path: Path) -> None:
    child = write_child(tmp_path / "child.yaml", extends="orl_quick", base={"epochs": 1})
    assert child.base == {**load_suite("orl_quick").base, "epochs": 1}


def test_a_suite_extends_one_that_extends_another(tmp_path: Path) -> None:
    for name, parent, epochs in (("b", "a", 2), ("c", "b", 3)):
        write_suite(tmp_path / f"{name}.yaml", "{}", extends=f"{parent}.yaml", base={"epochs": epochs})
    write_suite(tmp_path / "a.yaml", base={"epochs": 1, "width": 0.5})
    assert load_suite(str(tmp_path / "c.yaml")).base == {"epochs": 3, "width": 0.5}


def test_a_suite_that_is_extended_is_found_from_the_suite_that_names_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "deep").mkdir()
    write_suite(tmp_path / "parent.yaml")
    monkeypatch.chdir(tmp_path)
    assert write_child(Path("deep/child.yaml"), extends="../parent.yaml").title == "A small suite"


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_suites_that_extend_each_other_in_a_circle_are_refused(tmp_path: Path, names: str) -> None:
    for name, parent in zip(names, names[1:] + names[0], strict=True):
        write_suite(tmp_path / f"{name}.yaml", "{}", extends=f"{parent}.yaml")
    with pytest.raises(ValueError, match=r"suite 'a': .*extends leads back to a\.yaml"):
        load_suite(str(tmp_path / "a.yaml"))


def test_a_missing_suite_that_is_extended_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no suite file .*parent\.yaml"):
        write_child(tmp_path / "child.yaml", extends="parent.yaml")


def test_what_is_wrong_in_an_extended_suite_is_said_of_that_suite(tmp_path: Path) -> None:
    write_suite(tmp_path / "parent.yaml", titel="x")
    with pytest.raises(ValueError, match=r"suite 'child': extends parent\.yaml: the file: unknown key 'titel'"):
        write_child(tmp_path / "child.yaml", extends="parent.yaml")


# Methods of one's own.


@pytest.mark.parametrize("place", ["base", "variant", "grid"])
def test_files_of_ones_own_are_found_from_the_suite_that_names_them(tmp_path: Path, place: str, monkeypatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "pull.py").write_text(OWN)
    changes: dict = {
        "base": {"base": {"objective": "pull.py:Pull"}, "variants": {"full": {}}},
        "variant": {"variants": {"full": {}, "own": {"objective": "pull.py:Pull"}}},
        "grid": {"variants": {"full": {}}, "grid": {"objective": ["dcbh", "pull.py:Pull"]}},
    }[place]
    write_suite(tmp_path / "deep" / "parent.yaml", **changes)
    monkeypatch.chdir(tmp_path)
    child = write_child(tmp_path / "child.yaml", extends="deep/parent.yaml")
    assert child.runs()[-1].config.own_files() == {"pull.py": tmp_path / "deep" / "pull.py"}


def test_constants_of_an_objective_of_ones_own_are_fields_of_its_suite(tmp_path: Path) -> None:
    suite = load_suite(write_own(tmp_path / "s.yaml"))
    own = suite.with_settings({"bits": 12, "seed": 0})
    assert own.runs()[-1].config.resolved().tau == 0.5
    variants = {**suite.variants, "near": {"objective": "pull.py:Pull", "tau": 0.1}}
    near = load_suite(write_suite(tmp_path / "s.yaml", variants=variants))
    assert near.runs()[-1].config.tau == 0.1


def test_an_unknown_constant_of_an_objective_of_ones_own_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "pull.py").write_text(OWN)
    variants = {"full": {}, "own": {"objective": "pull.py:Pull", "taw": 0.1}}
    with pytest.raises(ValueError, match="variant 'own': unknown config field 'taw'; did you mean 'tau'"):
        load_suite(write_suite(tmp_path / "s.yaml", variants=variants))


def test_an_objective_of_ones_own_and_its_constants_are_set_together(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", variants={"full": {}}))
    (tmp_path / "pull.py").write_text(OWN)
    for settings in (
        {"objective": f"{tmp_path}/pull.py:Pull", "tau": [0.1, 0.2]},
        {"tau": [0.1, 0.2], "objective": f"{tmp_path}/pull.py:Pull"},
    ):
        assert [run.config.tau for run in suite.with_settings(settings).runs()[:2]] == [0.1, 0.2]


# Settings, and the choice of points.


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


def test_settings_set_whatever_is_planned(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).with_settings({"bits": [12], "seed": [7, 8]})
    assert suite.points() == [{"bits": 12, "seed": seed} for seed in (7, 8)]


def test_settings_reach_what_the_trials_of_a_tuning_share(tmp_path: Path) -> None:
    tuning = {**TUNING, "at": {"bits": 48, "seed": 0}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", tuning=tuning)).with_settings({"bits": 12, "width": 0.5})
    assert suite.tuning is not None
    assert suite.tuning.at == {"bits": 12, "seed": 0}


def test_the_points_of_several_grids_come_grid_by_grid(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    points = [(point["bits"], point["seed"]) for point in suite.points()]
    assert points == [(12, 0), (12, 1), (12, 2), (24, 0), (24, 1), (48, 0), (48, 1)]
    assert suite.points(without=["seed"]) == [{"bits": 12}, {"bits": 24}, {"bits": 48}]
    assert len(suite) == len(suite.runs()) == 14


def test_a_point_of_two_grids_is_one_point(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).with_settings({"bits": 36})
    assert suite.points() == [{"bits": 36, "seed": seed} for seed in (0, 1, 2)]


@pytest.mark.parametrize(
    ("wanted", "points"),
    [
        ({"bits": 48}, [(48, 0), (48, 1)]),
        ({"bits": [48, 12]}, [(12, 0), (12, 1), (12, 2), (48, 0), (48, 1)]),
        ({"seed": 2}, [(12, 2)]),
        ({"bits": 48, "seed": [0, 2]}, [(48, 0)]),
        ({}, [(12, 0), (12, 1), (12, 2), (24, 0), (24, 1), (48, 0), (48, 1)]),
    ],
)
def test_where_chooses_among_the_planned_points(tmp_path: Path, wanted: dict, points: list) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).where(wanted)
    assert [(point["bits"], point["seed"]) for point in suite.points()] == points


def test_where_knows_files_of_ones_own_by_their_names(tmp_path: Path) -> None:
    """By which tables know them, too."""
    (tmp_path / "own.py").write_text(OWN)
    own = f"{tmp_path / 'own.py'}:Pull"
    changes = {"variants": {"full": {}}, "grid": {"objective": ["softmax", own], "seed": [0]}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", **changes))
    for name in (own, "own.py:Pull"):
        assert [point["objective"] for point in suite.where({"objective": name}).points()] == [own]


def test_two_files_of_one_name_are_no_axis(tmp_path: Path) -> None:
    """Tables would know both by this name."""
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "own.py").write_text(OWN)
    both = [f"{tmp_path / directory / 'own.py'}:Pull" for directory in ("a", "b")]
    path = write_suite(tmp_path / "s.yaml", grid={"objective": both, "seed": [0]})
    with pytest.raises(ValueError, match="grid axis objective must be a list of distinct values"):
        load_suite(path)


def test_a_suites_name_has_no_dot(tmp_path: Path) -> None:
    """``a.b.csv`` is what is recorded of the part b of the suite a."""
    with pytest.raises(ValueError, match="its name must have no dot"):
        load_suite(write_suite(tmp_path / "a.b.yaml"))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"sed": 1}, "unknown grid axis 'sed'; did you mean 'seed'"),
        ({"width": 0.25}, "unknown grid axis 'width'"),
        ({"bits": [12, 36]}, "suite 's': bits 36 is not planned; to set it, use --set"),
        ({"bits": 48, "seed": 2}, "suite 's': no point is planned with {bits: 48, seed: 2}"),
        ({"bits": []}, "suite 's': no point is planned with {bits: []}"),
    ],
)
def test_where_refuses_what_is_not_planned(tmp_path: Path, wanted: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS)).where(wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"center_weight": 1.0}, "suite 's': center_weight cannot be set: it is what variant 'no_center' is about"),
        ({"widht": 1.0}, "suite 's': settings: unknown config field 'widht'; did you mean 'width'"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_suite(write_suite(tmp_path / "s.yaml")).with_settings(settings)


def test_only_selects_variants_by_name_and_pattern() -> None:
    assert load_suite("orl").select(["no_c*", "fc"]) == ["no_center", "fc"]


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    variants = {"full": {}, "fc [6]": {"head": "fc"}, "fc 6": {"head": "direct"}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", variants=variants))
    assert suite.select(["fc [6]"]) == ["fc [6]"]
    assert suite.select(suite.variants) == list(variants)


def test_only_refuses_an_unknown_variant() -> None:
    with pytest.raises(ValueError, match="suite 'orl': unknown variant 'no_centre'; did you mean 'no_center'"):
        load_suite("orl").select(["no_centre"])


@pytest.mark.parametrize("value", [1e-5, 0.5, None, True, "fc", [1, 2], "a b: c", {"bits": [1]}])
def test_values_survive_the_command_line(value: object) -> None:
    assert parse_yaml(suites.as_yaml(value)) == value


# What a variant changes.


def test_a_variant_changes_what_its_resolved_config_changes(tmp_path: Path) -> None:
    variants = {"dcbh": {}, "csq": {"objective": "csq"}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", variants=variants))
    assert suite.changes()["csq"] == {
        "head": "direct",
        "block_size": None,
        "objective": "csq",
        "feature_weight": None,
        "quantization_weight": 1e-4,
        "quantization_target": None,
        "center_weight": None,
    }


def test_what_is_written_out_but_no_change_is_not_listed(tmp_path: Path) -> None:
    variants = {"full": {}, "x": {"epochs": 60, "center_weight": 0}}
    assert load_suite(write_suite(tmp_path / "s.yaml", variants=variants)).changes() == {"x": {"center_weight": 0.0}}


def test_a_variant_that_changes_a_default_for_the_reference_says_so(tmp_path: Path) -> None:
    """The reference need not be the first variant, and what it has alone is none of the others'."""
    variants = {"plain": {}, "published": {"recipe": "published", "dtype": "float32"}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", variants=variants, reference="published"))
    expected = {"recipe": "modern", "batch_size": 64, "epochs": 60, "weight_decay": 2e-4, "augment": True}
    assert suite.changes() == {"plain": expected}


@pytest.mark.parametrize(
    "text",
    [
        "base: {bits: " + "9" * 400 + "}",
        "base: {bits: " + "9" * 5000 + "}",
        "base: {width: !!int ''}",
        "grid: {bits: [[1, 2], [3]]}",
        "grid: {bits: [12, {a: 1}]}",
        "reference: [a]",
        "grid: " + "[" * 900 + "]" * 900,
        "a: &a [x, x, x]\n"
        + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True))
        + "grid: {bits: *l}",
        "a0: &a0 {k: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(40)),
        "base: {root: " + "x" * 100_000 + "}",
        "reference: " + "x" * 100_000,
        "base: {" + ", ".join(f"k{i}: 1" for i in range(20_000)) + "}",
        "grid: {bits: [" + ", ".join(map(str, range(1, 20_001))) + ", 1]}",
    ],
    ids=[
        *["digits", "many digits", "tag", "lists", "mapping", "reference", "brackets", "aliases", "merges"],
        *["long value", "long name", "keys", "values"],
    ],
)
def test_a_text_made_to_break_a_suite_is_one_short_sentence(tmp_path: Path, text: str) -> None:
    head = "title: t\nabout: a\nvariants: {full: {}, own: {center_weight: 0}}\n"
    (tmp_path / "bad.yaml").write_text(head + text)
    started = time.process_time()
    with pytest.raises(ValueError, match="suite 'bad'") as caught:
        load_suite(str(tmp_path / "bad.yaml")).runs()
    assert time.process_time() - started < 10
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_a_title_of_two_lines_is_one_line(tmp_path: Path) -> None:
    path = write_suite(tmp_path / "a.yaml", title="One\ntwo")
    assert load_suite(path).title == "One two"


def test_the_validation_part_of_a_suite_has_a_name_of_its_own(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "a.yaml"))
    there = suite.with_settings({"scored_on": "validation"})
    assert there.name == there.with_settings({"scored_on": "validation"}).name == "a_validation"
    assert suite.with_settings({"width": 0.5}).name == "a"
