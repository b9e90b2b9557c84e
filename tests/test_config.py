import copy
import dataclasses
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Config
from dcbh_core.config import RECIPES, Data
from dcbh_core.losses import OBJECTIVES
from dcbh_core.methods import find_objective
from dcbh_core.peers import PEERS

ALL = {**OBJECTIVES, **PEERS}
OWN = """
from dcbh_core import Head, Objective


class MyHead(Head):
    pass


class MyLoss(Objective):
    terms = ("near", "far")
    constants = {"far_weight": 0.5, "far_margin": 2.0, "sharpness": 4.0, "steps": 3}
    positive = {"sharpness"}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The path of a file with a head and an objective."""
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "orll"}, "unknown dataset 'orll'; did you mean 'orl'"),
        ({"head": "blocks"}, "did you mean 'block'"),
        ({"recipe": "moderm"}, "did you mean 'modern'"),
        ({"bits": 0}, "bits must be at least 1, not 0"),
        ({"bits": 12.5}, "bits must be a whole number, not 12.5"),
        ({"bits": True}, "bits must be a whole number, not True"),
        ({"block_size": 2}, "block_size must be at least 3"),
        ({"width": 0}, "width must be above 0"),
        ({"new_people": 1.0}, "new_people must be a fraction"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2: batch normalisation"),
        ({"center_weight": -1}, "center_weight must be 0 or more"),
        ({"learning_rate": "1e-4"}, "learning_rate must be a number, not '1e-4'; in YAML"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite"),
        ({"seed": -1}, "seed must be from 0"),
        ({"multi_scale": "yes"}, "multi_scale must be true or false"),
        ({"dataset": "folder"}, "dataset 'folder' needs root"),
        ({"root": "faces"}, "root='faces' has no effect on dataset 'orl'"),
        ({"min_faces": 20}, "min_faces=20 has no effect on dataset 'orl'"),
        ({"dataset": "facescrub", "root": "x", "queries_per_identity": 3}, "which has its own split"),
        ({"dataset": "facescrub", "root": "x", "split_seed": 3}, "which has its own split"),
        ({"quantization_weight": 0, "quantization_target": 1}, "no effect with quantization_weight 0"),
        ({"objective": "cqs"}, "unknown objective 'cqs'; did you mean 'csq'"),
        ({"margin": 0.2}, "margin=0.2 has no effect on objective 'dcbh'"),
        ({"objective": "csq", "center_weight": 1}, "center_weight=1 has no effect on objective 'csq'"),
        ({"objective": "csq", "block_size": 6}, "block_size=6 has no effect on head 'direct', which has no blocks"),
        ({"head": "direct", "block_size": 6}, "block_size=6 has no effect on head 'direct'"),
        (
            {"head": "soft_block", "block_size": 5},
            "block_size must be even for soft blocks, which compare halves, not 5",
        ),
        ({"objective": "orthohash", "scale": 0}, "scale must be above 0, not 0"),
        ({"objective": "orthohash", "margin": -0.1}, "margin must be 0 or more, not -0.1"),
        ({"scored_on": "validations"}, "unknown scored_on 'validations'; did you mean 'validation'"),
        ({"margin": "wide"}, "margin='wide' has no effect on objective 'dcbh'"),
        ({"center_weight": "wide"}, "center_weight must be a number, not 'wide'"),
    ],
)
def test_an_impossible_value_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


@pytest.mark.parametrize(("name", "nearest"), [("centre_weight", "center_weight"), ("epoch", "epochs")])
def test_an_unknown_field_is_named_with_its_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown config field '{name}'; did you mean '{nearest}'"):
        Config.from_dict({name: 1})


def test_whole_floats_pass_as_whole_numbers():
    assert Config(epochs=60.0).epochs == 60  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", ["modern", "published"])
def test_resolving_fills_every_field_that_has_an_effect(recipe):
    resolved = Config(recipe=recipe).resolved()
    empty = {name for name, value in resolved.to_dict().items() if value is None}
    assert empty == {"root", "min_faces"}
    assert resolved.device != "auto"
    assert resolved.dtype != "auto"
    assert resolved.resolved() == resolved


@pytest.mark.parametrize(
    ("fields", "head", "block_size"),
    [
        ({}, "block", 6),
        ({"objective": "csq"}, "direct", None),
        ({"objective": "csq", "head": "fc"}, "fc", 6),
        ({"head": "direct"}, "direct", None),
        ({"objective": "soft_block"}, "soft_block", 6),
    ],
)
def test_the_objective_decides_the_head_and_the_head_the_block_size(fields, head, block_size):
    resolved = Config(**fields).resolved()
    assert (resolved.head, resolved.block_size) == (head, block_size)
    assert resolved.resolved() == resolved


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_dtype_that_is_asked_for_wins_over_the_recipe(recipe):
    assert Config(recipe=recipe, dtype="bfloat16").resolved().dtype == "bfloat16"


# --- Constants of the objective ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ALL)
def test_each_objective_resolves_to_its_own_constants_at_their_defaults(objective):
    config = Config(objective=objective)
    assert config.constants == ()
    assert dict(config.resolved().constants) == dict(ALL[objective].constants)


@pytest.mark.parametrize("objective", ALL)
def test_each_constant_of_each_objective_can_be_set_and_read(objective):
    for name, default in ALL[objective].constants.items():
        config = Config(objective=objective, **{name: default + 1})
        assert getattr(config, name) == default + 1
        assert getattr(config.resolved(), name) == default + 1
        assert dict(config.constants) == {name: default + 1}


def test_a_constant_that_is_not_set_reads_as_none():
    assert Config().center_weight is None
    assert Config(center_weight=None).constants == ()


def test_a_constant_of_another_objective_reads_as_none_and_an_unknown_one_is_an_error():
    assert Config().margin is None
    with pytest.raises(AttributeError, match="a Config has no field 'centre_weight'"):
        Config().centre_weight  # noqa: B018


def test_names_are_the_fields_and_the_constants_of_that_objective():
    fields = [field.name for field in dataclasses.fields(Config) if field.name != "constants"]
    assert Config.names() == [*fields, *OBJECTIVES["dcbh"].constants]
    assert Config.names("orthohash") == [*fields, "scale", "margin"]


@pytest.mark.parametrize("objective", ALL)
def test_every_name_is_taken_and_shown(objective):
    values = Config(objective=objective).resolved().to_dict()
    assert list(values) == sorted(Config.names(objective), key=list(values).index)
    assert set(values) == set(Config.names(objective))


def test_the_order_in_which_constants_are_given_does_not_matter():
    one, other = Config(center_weight=1, feature_weight=2), Config(feature_weight=2, center_weight=1)
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("objective", "weight", "idle"),
    [
        ("dcbh", "quantization_weight", "quantization_target"),
        ("softmax", "quantization_weight", "quantization_target"),
    ],
)
def test_what_belongs_to_a_term_of_weight_0_has_no_effect(objective, weight, idle):
    assert getattr(Config(objective=objective, **{weight: 0}).resolved(), idle) is None
    with pytest.raises(ValueError, match=f"{idle}=0.5 has no effect with {weight} 0; leave it out"):
        Config(objective=objective, **{weight: 0, idle: 0.5})


def test_weights_that_are_all_0_leave_nothing_to_train(own):
    assert Config(objective="soft_block", quantization_weight=0, center_weight=0)  # "code" has no weight to be 0
    Path(own).write_text(OWN.replace('"near", "far"', '"far",'))
    with pytest.raises(ValueError, match=r"every term of objective '.*own\.py:MyLoss' has weight 0"):
        Config(objective=f"{own}:MyLoss", far_weight=0)


# --- Methods of one's own ---------------------------------------------------------------------------------------------


def test_constants_of_ones_own_objective_are_fields(own):
    config = Config(objective=f"{own}:MyLoss", far_margin=3)
    assert (config.far_margin, config.sharpness) == (3.0, None)
    assert dict(config.resolved().constants) == {"far_margin": 3.0, "far_weight": 0.5, "sharpness": 4.0, "steps": 3}
    assert Config.names(f"{own}:MyLoss")[-4:] == ["far_weight", "far_margin", "sharpness", "steps"]
    assert config.resolved().resolved() == config.resolved()


def test_a_term_of_ones_own_may_be_off_by_default(own):
    """What belongs to it has no effect then, as where its weight is set to 0, and is filled in where it is not."""
    Path(own).write_text(OWN.replace('"far_weight": 0.5', '"far_weight": 0.0'))
    constants = dict(Config(objective=f"{own}:MyLoss").resolved().constants)
    assert "far_margin" not in constants and constants["far_weight"] == 0
    assert "far_margin" in dict(Config(objective=f"{own}:MyLoss", far_weight=0.5).resolved().constants)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"sharpnes": 1}, "unknown config field 'sharpnes'; did you mean 'sharpness'"),
        ({"sharpness": 0}, "sharpness must be above 0, not 0.0"),
        ({"far_margin": -1}, "far_margin must be 0 or more, not -1.0"),
        ({"far_margin": "2"}, "far_margin must be a number, not '2'"),
        ({"steps": 2.5}, "steps must be a whole number, not 2.5"),
        ({"center_weight": 1}, r"center_weight=1 has no effect on objective '.*own\.py:MyLoss'"),
        ({"far_weight": 0, "far_margin": 2}, "far_margin=2.0 has no effect with far_weight 0"),
    ],
)
def test_an_impossible_constant_of_ones_own_is_named(own, constants, message):
    with pytest.raises(ValueError, match=message):
        Config(objective=f"{own}:MyLoss", **constants)


@pytest.mark.parametrize("constant", ['"bits": 3.0', '"seed": 1', '"kind": "sharp"', '"kind": (1, 2)', '"kind": None'])
def test_a_constant_that_is_no_number_or_is_called_like_a_field_is_refused(own, constant):
    Path(own).write_text(OWN.replace('"steps": 3', constant))
    name = constant.split('"')[1]
    with pytest.raises(ValueError, match=f"constant '{name}' of objective .* must be a number, and no field"):
        Config(objective=f"{own}:MyLoss")


def test_ones_own_constants_are_unknown_to_the_kits_objectives(own):
    Config(objective=f"{own}:MyLoss")
    with pytest.raises(ValueError, match="unknown config field 'far_margin'"):
        Config(far_margin=1)


def test_own_files_are_those_of_head_and_objective(own):
    assert Config().own_files() == {}
    for methods in ({"head": f"{own}:MyHead"}, {"objective": f"{own}:MyLoss"}):
        assert Config(**methods).own_files() == {"own.py": Path(own)}
    assert Config(head=f"{own}:MyHead", objective=f"{own}:MyLoss").own_files() == {"own.py": Path(own)}


def test_head_and_objective_may_lie_in_two_files(own, tmp_path):
    (tmp_path / "other.py").write_text(OWN)
    config = Config(head=f"{own}:MyHead", objective=f"{tmp_path / 'other.py'}:MyLoss")
    assert config.own_files() == {"own.py": Path(own), "other.py": tmp_path / "other.py"}


def test_two_files_of_one_name_are_refused(own, tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else/own.py").write_text(OWN)
    with pytest.raises(
        ValueError, match=r"head, objective, recipe come from two files named own\.py; rename one of them"
    ):
        Config(head=f"{own}:MyHead", objective=f"{tmp_path / 'else/own.py'}:MyLoss")


def test_a_portable_config_names_files_without_their_directories(own):
    config = Config(head=f"{own}:MyHead", objective=f"{own}:MyLoss", far_margin=3, bits=12)
    assert config.portable() == config.to_dict() | {"head": "own.py:MyHead", "objective": "own.py:MyLoss"}
    assert Config(bits=12).portable() == Config(bits=12).to_dict()


def test_a_path_may_be_relative_or_begin_at_home(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config(head="own.py:MyHead").own_files() == {"own.py": Path(own)}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Config(head="~/own.py:MyHead").own_files() == {"own.py": Path(own)}


# --- Filling in -------------------------------------------------------------------------------------------------------


def test_an_explicit_value_wins_over_the_recipe():
    assert Config(recipe="published", epochs=7, weight_decay=0.1).resolved().epochs == 7
    assert Config(recipe="published", epochs=7, weight_decay=0.1).resolved().weight_decay == 0.1


def test_the_same_experiment_written_in_two_ways_is_equal_once_resolved():
    spelt_out = Config(feature_weight=1, center_weight=1e-4, quantization_weight=0.1, quantization_target=0.5)
    assert spelt_out != Config()
    assert spelt_out.resolved() == Config().resolved()


@pytest.mark.parametrize(
    ("fields", "queries"),
    [
        ({}, 3),
        ({"dataset": "lfw"}, 5),
        ({"dataset": "lfw", "min_faces": 10}, 3),
        ({"dataset": "folder", "root": "x"}, 3),
    ],
)
def test_queries_per_person_follow_the_data_set(fields, queries):
    assert Config(**fields).resolved().queries_per_identity == queries


def test_data_are_the_fields_on_data_filled_in(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("asked for a device"))
    assert Config(dataset="lfw", new_people=0.25, scored_on="validation").data() == Data(
        dataset="lfw",
        root=None,
        min_faces=20,
        queries_per_identity=5,
        split_seed=0,
        new_people=0.25,
        scored_on="validation",
    )


@given(
    objective=st.sampled_from(list(ALL)),
    values=st.fixed_dictionaries(
        {},
        optional={
            "bits": st.integers(1, 64),
            "width": st.floats(0.01, 8),
            "new_people": st.floats(0, 0.9),
            "epochs": st.integers(1, 99) | st.none(),
            "augment": st.booleans() | st.none(),
            "learning_rate": st.floats(1e-6, 1) | st.none(),
            "recipe": st.sampled_from(list(RECIPES)),
            "scored_on": st.sampled_from(["queries", "validation"]),
            "seed": st.integers(0, 2**32 - 1),
        },
    ),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_config_survives_every_round_trip(objective, values, data):
    constants = find_objective(objective).constants
    given_ = data.draw(st.fixed_dictionaries({}, optional={name: st.floats(0.1, 9) for name in constants}))
    config = Config(objective=objective, **values, **given_)
    for again in (
        Config.from_dict(config.to_dict()),
        dataclasses.replace(config),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
    ):
        assert again == config
    assert Config.from_dict(config.resolved().to_dict()) == config.resolved()
    assert {name: getattr(config, name) for name in given_} == given_


def test_replacing_a_constant_keeps_the_others():
    config = dataclasses.replace(Config(center_weight=1, bits=12), feature_weight=2)
    assert config == Config(center_weight=1, feature_weight=2, bits=12)


@pytest.mark.parametrize("name", ["bits", "center_weight"])
def test_a_config_is_frozen(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Config(), name, 3)


@pytest.mark.parametrize("rate", [1e300, 0.0, -1.0])
def test_a_learning_rate_that_cannot_work_is_refused(rate):
    with pytest.raises(ValueError, match="learning_rate must be above 0 and at most 1e30"):
        Config(learning_rate=rate)
