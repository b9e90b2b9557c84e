import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from dcbh_core import DCBH, Config
from dcbh_core.heads import HEADS
from dcbh_core.losses import OBJECTIVES
from dcbh_core.model import Backbone, descriptor_size, objective_of
from dcbh_core.peers import PEERS
from dcbh_core.saving import digest_of, write_atomically

SMALL = Config(bits=5, block_size=3, width=0.05)
ALL = {**OBJECTIVES, **PEERS}


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def test_the_papers_network_has_the_papers_number_of_parameters():
    assert parameters(DCBH(Config(bits=48, block_size=6), num_identities=530)) == 8_039_140


def test_the_centres_come_on_top():
    assert parameters(objective_of(DCBH(Config(), 530))) == 152_640


@pytest.mark.parametrize("objective", ALL)
def test_a_model_has_the_classifiers_that_its_objective_asks_for_and_no_others(objective):
    model = DCBH(Config(objective=objective, bits=5, width=0.05), 7)
    wanted = {f"{name}_classifier" for name in ALL[objective].classifiers}
    assert {key.split(".")[0] for key in model.state_dict() if "classifier" in key} == wanted
    outputs = model(torch.as_tensor(images(2)))
    assert {name for name in ("code", "feature") if getattr(outputs, f"{name}_logits") is not None} == set(
        ALL[objective].classifiers
    )


def test_without_multi_scale_only_the_deep_features_remain():
    whole, deep = DCBH(Config(), 2), DCBH(Config(multi_scale=False), 2)
    assert whole.backbone.num_features == 768
    assert deep.backbone.num_features == 512
    assert parameters(whole) - parameters(deep) == 256 * 288


def test_the_deep_features_come_first():
    torch.manual_seed(0)
    model = DCBH(Config(width=0.125), 2).eval()
    faces = torch.randn(2, 3, 32, 32)
    both = model.backbone(faces)
    model.backbone.multi_scale = False
    torch.testing.assert_close(model.backbone(faces), both[:, :64])


def test_width_scales_the_channels():
    assert DCBH(Config(width=0.5), 2).backbone.num_features == 384


def test_initial_values_are_the_papers():
    model = DCBH(Config(width=0.25), 10)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            fan_in = module.weight[0].numel()
            fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound
            assert module.bias is None or not module.bias.any()


def test_the_direct_head_has_no_layer_before_it():
    model = DCBH(Config(bits=5, width=0.05, head="direct", dtype="float32"), 2).eval()
    faces = torch.as_tensor(images(3))
    with torch.no_grad():
        pooled = model.backbone(model.standardize(faces))
        outputs = model(faces)
    torch.testing.assert_close(outputs.descriptor, pooled)
    np.testing.assert_allclose(model.describe(images(3)), pooled.numpy(), atol=1e-6)
    assert descriptor_size(model.config) == model.backbone.num_features == pooled.shape[1]
    assert parameters(model.head) == 5 * pooled.shape[1] + 5 + 2 * 5  # linear layer, its bias, batch normalisation


@pytest.mark.parametrize("width", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("multi_scale", [True, False])
def test_the_direct_heads_descriptor_has_the_size_of_the_pooled_features(width, multi_scale):
    config = Config(width=width, multi_scale=multi_scale, head="direct").resolved()
    assert descriptor_size(config) == Backbone(width, multi_scale).num_features


def test_a_relu_stands_before_the_heads_that_want_one():
    for name, head in HEADS.items():
        model = DCBH(Config(head=name, bits=5, width=0.05), 2)
        has = any(isinstance(layer, torch.nn.ReLU) for layer in model.descriptor)
        assert has == (head.blocks and head.relu), name


@pytest.mark.parametrize("head", HEADS)
def test_shapes_and_types(head):
    model = DCBH(Config(bits=5, block_size=None if head == "direct" else 4, width=0.05, head=head), 7)
    outputs = model(torch.as_tensor(images(2)))
    size = descriptor_size(model.config)
    assert size == (39 if head == "direct" else 20)
    assert [tuple(x.shape) for x in outputs] == [(2, size), (2, 5), (2, 5), (2, 7), (2, 7)]
    assert torch.equal(outputs.relaxed, outputs.continuous.tanh())
    codes, descriptors = model.encode(images(3)), model.describe(images(3))
    assert (codes.dtype, codes.shape) == (np.dtype(bool), (3, 5))
    assert (descriptors.dtype, descriptors.shape) == (np.dtype(np.float32), (3, size))


@pytest.mark.parametrize("head", HEADS)
def test_codes_can_be_had_from_descriptors_so_an_image_need_not_pass_twice(head):
    model = trained_looking_model(Config(bits=5, width=0.05, head=head))
    passes = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    descriptors = model.describe(images(9))
    codes = model.binarize(descriptors)
    assert len(passes) == 1
    np.testing.assert_array_equal(codes, model.encode(images(9)))
    assert (codes.dtype, codes.shape) == (np.dtype(bool), (9, 5))


@pytest.mark.parametrize("head", HEADS)
def test_bits_are_the_signs_of_relaxed_codes(head):
    model = trained_looking_model(Config(bits=5, width=0.05, head=head))
    descriptors = model.describe(images(9))
    relaxed = model.relax(descriptors)
    with torch.inference_mode():
        expected = model.eval()(torch.as_tensor(images(9))).relaxed.numpy()
    assert (relaxed.dtype, relaxed.shape) == (np.dtype(np.float32), (9, 5))
    np.testing.assert_allclose(relaxed, expected, atol=1e-5)
    np.testing.assert_array_equal(model.binarize(descriptors), relaxed >= 0)


def test_the_class_is_what_the_code_classifier_finds_likeliest():
    model = trained_looking_model(Config(bits=5, width=0.05))
    with torch.inference_mode():
        expected = model.eval()(torch.as_tensor(images(9))).code_logits.argmax(1).numpy()
    np.testing.assert_array_equal(model.classify(model.describe(images(9))), expected)
    other = DCBH(Config(bits=5, width=0.05, objective="csq"), 7)
    with pytest.raises(ValueError, match="objective 'csq' trains no classifier on the code"):
        other.classify(np.zeros((2, 39), np.float32))


def test_a_person_is_classified_by_the_hyperbolic_tangent_of_what_the_head_gives():
    model = trained_looking_model(Config(bits=5, width=0.05, head="direct", dtype="float32")).eval()
    assert model.code_classifier is not None
    descriptors = np.random.default_rng(0).normal(0, 30, (50, 39)).astype(np.float32)  # far out, where it matters
    with torch.inference_mode():
        z = model.head(torch.as_tensor(descriptors)).numpy()
    weight, bias = (part.detach().numpy() for part in (model.code_classifier.weight, model.code_classifier.bias))
    slow = [[weight[c] @ np.tanh(row) + bias[c] for c in range(3)] for row in z]
    found = model.classify(descriptors)
    np.testing.assert_array_equal(found, np.argmax(slow, 1))
    assert not np.array_equal(found, (z @ weight.T + bias).argmax(1))


def test_encoding_in_batches_changes_nothing(monkeypatch):
    model = DCBH(SMALL, 2)
    whole = model.describe(images(7))
    monkeypatch.setattr("dcbh_core.model.ENCODE_BATCH", 3)
    np.testing.assert_allclose(model.describe(images(7)), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.binarize(whole), model.encode(images(7)))


def test_no_images_give_no_codes():
    assert DCBH(SMALL, 2).encode(images(0)).shape == (0, 5)


def test_encoding_leaves_the_training_mode_alone():
    model = DCBH(SMALL, 2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.encode(images(4))
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.uint8), r"shape \(n, 3, 32, 32\), not \(2, 32, 32, 3\)"),
        (np.zeros((2, 3, 32, 32), np.float32), "must be uint8"),
    ],
)
def test_images_that_do_not_fit_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        DCBH(SMALL, 2).encode(bad)


def test_statistics_are_one_scalar_mean_and_standard_deviation():
    model = DCBH(SMALL, 2)
    model.set_statistics(torch.as_tensor(images(5)))
    assert model.mean.item() == pytest.approx(images(5).mean(), rel=1e-6)
    assert model.std.item() == pytest.approx(images(5).std(), rel=1e-6)
    expected = np.clip((images(5) - images(5).mean()) / (images(5).std() + 1e-5) * 0.1, -1, 1)
    np.testing.assert_allclose(model.standardize(torch.as_tensor(images(5))).numpy(), expected, atol=1e-6)


def test_standardised_faces_are_clipped():
    model = DCBH(SMALL, 2)
    model.mean.fill_(0)
    model.std.fill_(1)
    assert model.standardize(torch.full((1, 3, 32, 32), 255)).max() == 1


# --- Saving and loading -----------------------------------------------------------------------------------------------


def trained_looking_model(config: Config = SMALL) -> DCBH:
    torch.manual_seed(1)
    model = DCBH(config, 3)
    model.set_statistics(torch.as_tensor(images(6)))
    model.train()(torch.as_tensor(images(6)))  # moves batch normalisation's statistics
    return model


def test_a_loaded_model_gives_the_same_codes(tmp_path):
    model = trained_looking_model()
    model.save(tmp_path)
    loaded = DCBH.load(tmp_path)
    assert not loaded.training
    np.testing.assert_array_equal(loaded.describe(images(9)), model.describe(images(9)))
    np.testing.assert_array_equal(loaded.encode(images(9)), model.encode(images(9)))
    assert loaded.config == model.config


def test_a_csq_model_saves_no_classifiers(tmp_path):
    trained_looking_model(Config(objective="csq", bits=5, width=0.05)).save(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        parts = {name.split(".")[0] for name in file.keys()}  # noqa: SIM118
    assert parts == {"backbone", "head", "mean", "std"}


@pytest.mark.parametrize("objective", ALL)
def test_a_saved_model_carries_a_card_that_says_what_it_is(tmp_path, objective):
    model = trained_looking_model(Config(objective=objective, bits=5, width=0.05))
    model.save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith(f"# 5-bit codes of faces by the objective {objective}\n")
    assert f"objective `{objective}`, head `{model.config.head}`, recipe `modern`, {parameters(model):,} par" in card
    assert "Trained on: `orl`, 3 people" in card
    assert "Not for identifying" in card


def test_loading_names_a_missing_file(tmp_path):
    trained_looking_model().save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        DCBH.load(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 200, 5000])
def test_loading_names_truncated_weights(tmp_path, kept):
    trained_looking_model().save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be loaded"):
        DCBH.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": {"bitz": 3}, "num_identities": 2}'])
def test_loading_names_a_foreign_config(tmp_path, text):
    trained_looking_model().save(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json does not describe a model to be loaded"):
        DCBH.load(tmp_path)


def test_loading_refuses_weights_of_another_model(tmp_path):
    trained_looking_model().save(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about["config"]["seed"] = 9
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="another model"):
        DCBH.load(tmp_path)


# --- Models with a method of one's own --------------------------------------------------------------------------------

MARKING = """
import os
from pathlib import Path

from dcbh_core import Head

Path(os.environ["MARKER"]).touch()  # shows that the file was executed


class MyHead(Head):
    relu = False

    def forward(self, f):
        return f.unflatten(1, (self.bits, self.size)).mean(2)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DCBH:
    """A model whose head is a file that writes a marker when it is executed."""
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.py").write_text(MARKING)
    model = trained_looking_model(Config(head=f"{tmp_path}/mine/own.py:MyHead", bits=5, width=0.05))
    (tmp_path / "marker").unlink()  # the marker was written, so it can be
    return model


def test_the_file_of_ones_own_method_lies_beside_the_weights(own, tmp_path):
    own.save(tmp_path / "saved")
    assert (tmp_path / "saved/own.py").read_text() == MARKING
    assert json.loads((tmp_path / "saved/config.json").read_text())["config"]["head"] == "own.py:MyHead"
    assert str(tmp_path) not in "".join(path.read_text(errors="replace") for path in (tmp_path / "saved").iterdir())


def test_what_is_saved_is_the_file_that_the_model_was_made_from(own, tmp_path):
    (tmp_path / "mine/own.py").write_text("another idea")
    own.save(tmp_path / "saved")
    assert (tmp_path / "saved/own.py").read_text() == MARKING


def test_the_kits_own_methods_need_no_file(tmp_path):
    trained_looking_model().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_loading_executes_nothing_that_it_is_not_told_to(own, tmp_path):
    own.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "mine")
    beside = tmp_path / "saved/own.py"
    with pytest.raises(PermissionError, match=rf"head .* program of its author's, {beside}; .*own_code=True"):
        DCBH.load(tmp_path / "saved")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["head", "objective", "recipe"])
@pytest.mark.parametrize("prefix", ["", "/somewhere/else/", "../"])
def test_no_config_makes_loading_execute_anything(own, tmp_path, kind, prefix):
    own.save(tmp_path / "saved")
    about = json.loads((tmp_path / "saved/config.json").read_text())
    about["config"] |= {"head": "block", kind: f"{prefix}own.py:MyHead"}
    (tmp_path / "saved/config.json").write_text(json.dumps(about))
    with pytest.raises(PermissionError, match=f"the {kind} of this model is a program"):
        DCBH.load(tmp_path / "saved")
    assert not (tmp_path / "marker").exists()


def test_a_model_of_ones_own_that_may_run_gives_the_same_codes(own, tmp_path):
    own.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "mine")
    loaded = DCBH.load(tmp_path / "saved", device="cpu", own_code=True)
    assert (tmp_path / "marker").exists()
    np.testing.assert_array_equal(loaded.encode(images(9)), own.encode(images(9)))
    np.testing.assert_array_equal(loaded.describe(images(9)), own.describe(images(9)))


def test_a_loaded_model_of_ones_own_can_be_saved_again(own, tmp_path):
    own.save(tmp_path / "saved")
    DCBH.load(tmp_path / "saved", own_code=True).save(tmp_path / "again")
    for name in ("own.py", "config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_a_missing_file_of_ones_own_is_named(own, tmp_path):
    own.save(tmp_path / "saved")
    (tmp_path / "saved/own.py").unlink()
    with pytest.raises(ValueError, match=rf"there is no file {tmp_path}/saved/own\.py"):
        DCBH.load(tmp_path / "saved", own_code=True)


def reseal(directory, change):
    """Change what config.json and the weights say, with a digest that fits: what somebody hostile would do."""
    about = json.loads((directory / "config.json").read_text())
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    change(about, weights)
    data = safetensors.torch.save(weights)
    (directory / "model.safetensors").write_bytes(data)
    (directory / "config.json").write_text(json.dumps({**about, "sha256": digest_of(about, data)}))


@pytest.mark.parametrize("people", [1, -5, 10**12, 1e400, "many", None, 2.5])
def test_loading_refuses_an_impossible_number_of_people(tmp_path, people):
    trained_looking_model().save(tmp_path)
    reseal(tmp_path, lambda about, weights: about.update(num_identities=people))
    with pytest.raises(ValueError, match="num_identities must be a whole number from 2"):
        DCBH.load(tmp_path, device="cpu")


@pytest.mark.parametrize(("field", "value"), [("bits", 2 * 10**7), ("width", 8.0), ("block_size", 10**6)])
def test_loading_takes_no_memory_for_a_network_that_its_weights_do_not_fill(tmp_path, field, value):
    trained_looking_model().save(tmp_path)
    reseal(tmp_path, lambda about, weights: about["config"].update({field: value}))
    before = psutil.Process().memory_info().rss
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be loaded"):
        DCBH.load(tmp_path, device="cpu")
    assert psutil.Process().memory_info().rss - before < 2**28


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loading_refuses_weights_that_are_not_finite(tmp_path, value):
    trained_looking_model().save(tmp_path)
    reseal(tmp_path, lambda about, weights: weights["code_classifier.bias"].fill_(value))
    with pytest.raises(ValueError, match=r"code_classifier\.bias holds NaN or infinite numbers"):
        DCBH.load(tmp_path, device="cpu")


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_loading_notices_every_flipped_bit_of_the_weights(data):
    with tempfile.TemporaryDirectory() as directory:
        trained_looking_model().save(directory)
        path = Path(directory) / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            DCBH.load(directory, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_loading_onto_a_device_that_is_not_there_is_one_sentence(tmp_path):
    trained_looking_model().save(tmp_path)
    with pytest.raises(ValueError, match="finds no CUDA on this machine"):
        DCBH.load(tmp_path, device="cuda")


@pytest.mark.parametrize("field", ["bits", "block_size"])
@pytest.mark.parametrize("value", [10**18, 10**30])
def test_loading_refuses_sizes_that_no_machine_can_count(tmp_path, field, value):
    trained_looking_model().save(tmp_path)
    reseal(tmp_path, lambda about, weights: about["config"].update({field: value}))
    with pytest.raises(ValueError, match=r"config\.json does not describe a model to be loaded: [^\n]+$"):
        DCBH.load(tmp_path, device="cpu")


def test_loading_refuses_a_config_that_is_nested_too_deeply(tmp_path):
    trained_looking_model().save(tmp_path)
    (tmp_path / "config.json").write_text('{"config": ' + "[" * 200_000)
    with pytest.raises(ValueError, match=r"config\.json does not describe a model to be loaded"):
        DCBH.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("mean"), "mean is missing"),
        (lambda weights: weights.update(more=torch.zeros(2)), "more is no weight of this network"),
        (lambda weights: weights.update(mean=torch.zeros(2)), r"mean must be torch\.float32 \(\), not .* \(2,\)"),
        (
            lambda weights: weights.update(mean=torch.zeros((), dtype=torch.float64)),
            r"float32 \(\), not torch\.float64 \(\)",
        ),
    ],
    ids=["missing", "more", "shape", "type"],
)
def test_a_weight_that_does_not_fit_is_named_in_one_sentence(tmp_path, change, message):
    trained_looking_model().save(tmp_path)
    reseal(tmp_path, lambda about, weights: change(weights))
    with pytest.raises(ValueError, match=rf"model\.safetensors cannot be loaded: [^\n]*{message}$"):
        DCBH.load(tmp_path)


UNSAVED = """
import torch

from dcbh_core import Head


class MyHead(Head):
    def __init__(self, bits, size):
        super().__init__(bits, size)
        self.weights = torch.linspace(0.5, 1.5, size)
        self.register_buffer("shift", torch.full((size,), 0.5), persistent=False)
        self.total = self.weights.sum().item()

    def forward(self, f):
        return ((f.unflatten(1, (self.bits, self.size)) - self.shift) * self.weights / self.total).sum(2)
"""


def test_a_head_of_ones_own_may_hold_what_is_not_saved(tmp_path):
    (tmp_path / "own.py").write_text(UNSAVED)
    model = trained_looking_model(Config(head=f"{tmp_path}/own.py:MyHead", bits=5, width=0.05))
    model.save(tmp_path / "saved")
    loaded = DCBH.load(tmp_path / "saved", device="cpu", own_code=True)
    np.testing.assert_array_equal(loaded.encode(images(9)), model.encode(images(9)))


def test_mirrored_views_are_taken_as_their_copies_are():
    model = trained_looking_model()
    mirrored, bgr = images(3)[..., ::-1], images(3)[:, ::-1]
    for view in (mirrored, bgr, images(1)[::-1]):
        np.testing.assert_array_equal(model.describe(view), model.describe(view.copy()))
    descriptors = model.describe(images(3))
    np.testing.assert_array_equal(model.binarize(descriptors[::-1]), model.binarize(descriptors)[::-1])


def test_two_who_write_into_one_directory_do_not_mix(tmp_path, monkeypatch):
    """The other one writes, whole, between the first one's bytes and its name."""
    replace = os.replace

    def interrupted(partial, path):
        monkeypatch.setattr(os, "replace", replace)
        write_atomically(tmp_path / "other", b"b" * 9)
        replace(partial, path)

    monkeypatch.setattr(os, "replace", interrupted)
    write_atomically(tmp_path / "one", b"a")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one": b"a", "other": b"b" * 9}


def test_a_file_may_have_as_long_a_name_as_the_system_allows(tmp_path):
    write_atomically(tmp_path / ("x" * 255), b"a")
    assert [(len(path.name), path.read_bytes()) for path in tmp_path.iterdir()] == [(255, b"a")]
