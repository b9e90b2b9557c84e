import dataclasses

import pytest

from dcbh_core import Config
from dcbh_core.config import OBJECTIVE_DEFAULTS, OBJECTIVE_FIELDS


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
        ({"objective": "csq", "center_weight": 1}, "center_weight=1.0 has no effect on objective 'csq'"),
        ({"objective": "csq", "block_size": 6}, "block_size=6 has no effect on head 'direct', which has no blocks"),
        ({"head": "direct", "block_size": 6}, "block_size=6 has no effect on head 'direct'"),
        ({"head": "mass", "block_size": 5}, "block_size must be even for the head 'mass'"),
        ({"objective": "orthohash", "scale": 0}, "scale must be above 0"),
        ({"objective": "orthohash", "margin": -0.1}, "margin must be 0 or more"),
    ],
)
def test_an_impossible_value_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_an_unknown_field_is_named_with_its_nearest():
    with pytest.raises(ValueError, match="unknown config field 'centre_weight'; did you mean 'center_weight'"):
        Config.from_dict({"centre_weight": 1})


def test_whole_floats_pass_as_whole_numbers():
    assert Config(epochs=60.0).epochs == 60  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", ["modern", "published"])
def test_resolving_fills_every_field_that_has_an_effect(recipe):
    resolved = Config(recipe=recipe).resolved()
    empty = {name for name, value in resolved.to_dict().items() if value is None}
    of_others = {"spread_weight", "scale", "margin"}
    assert empty == {"root", "min_faces", *of_others}
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
        ({"objective": "dcbh_soft"}, "mass", 6),
    ],
)
def test_the_objective_decides_the_head_and_the_head_the_block_size(fields, head, block_size):
    resolved = Config(**fields).resolved()
    assert (resolved.head, resolved.block_size) == (head, block_size)
    assert resolved.resolved() == resolved


@pytest.mark.parametrize("objective", OBJECTIVE_DEFAULTS)
def test_each_objective_resolves_to_its_own_fields_alone(objective):
    resolved = Config(objective=objective).resolved()
    assert {name for name in OBJECTIVE_FIELDS if getattr(resolved, name) is not None} == (
        OBJECTIVE_DEFAULTS[objective].keys() - {"head"}
    )


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


def test_a_config_survives_a_round_trip():
    config = Config(dataset="lfw", min_faces=12, bits=24, augment=False)
    assert Config.from_dict(config.to_dict()) == config


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().bits = 3  # type: ignore[misc]
