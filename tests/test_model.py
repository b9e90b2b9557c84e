import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import DCBH, Config
from dcbh_core.config import CHOICES
from dcbh_core.model import HEADS, Backbone, BlockHead, DivideEncodeHead, MassHead, descriptor_size
from dcbh_core.peers import OBJECTIVES

SMALL = Config(bits=5, block_size=3, width=0.05)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def test_the_papers_network_has_the_papers_number_of_parameters():
    assert parameters(DCBH(Config(bits=48, block_size=6), num_identities=530)) == 8_039_140


def test_the_centres_come_on_top():
    assert parameters(OBJECTIVES["dcbh"](Config().resolved(), 530)) == 152_640


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


@given(st.integers(1, 12), st.integers(3, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_block_head_equals_a_slow_loop(bits, block_size, seed):
    f = np.random.default_rng(seed).normal(0, 3, (2, bits * block_size))
    slow = np.empty((2, bits))
    for i in range(2):
        for b in range(bits):
            block = f[i, b * block_size : (b + 1) * block_size]
            mass = np.exp(block) / np.exp(block).sum()
            slow[i, b] = max(mass) - 0.5
    np.testing.assert_allclose(BlockHead(bits, block_size)(torch.tensor(f)).numpy(), slow, atol=1e-12)


def test_block_head_stays_in_its_range_and_reaches_both_ends():
    head = BlockHead(2, 6)
    flat, peak = torch.zeros(1, 12), torch.zeros(1, 12)
    peak[:, ::6] = 50.0
    torch.testing.assert_close(head(flat).tanh(), torch.full((1, 2), -0.3215127), atol=1e-6, rtol=0)
    torch.testing.assert_close(head(peak).tanh(), torch.full((1, 2), 0.4621172), atol=1e-6, rtol=0)


def test_a_block_of_two_would_always_give_a_one_so_it_is_refused():
    assert (BlockHead(4, 2)(torch.randn(100, 8)) >= 0).all()
    with pytest.raises(ValueError, match=r"block_size must be at least 3.*every bit would be 1"):
        Config(block_size=2)


def test_divide_and_encode_uses_each_block_for_its_own_bit():
    head = DivideEncodeHead(4, 3)
    f = torch.randn(1, 12, requires_grad=True)
    head(f)[0, 2].backward()
    assert f.grad is not None
    assert f.grad[0].nonzero().flatten().tolist() == [6, 7, 8]


def test_divide_and_encode_equals_a_slow_loop():
    head = DivideEncodeHead(4, 3).double()
    torch.nn.init.normal_(head.bias)
    f = torch.randn(2, 12, dtype=torch.float64)
    for i in range(2):
        for b in range(4):
            number = sum(f[i, 3 * b + j] * head.weight[b, j] for j in range(3)) + head.bias[b]
            torch.testing.assert_close(head(f)[i, b], number)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_mass_head_equals_a_slow_loop(bits, half, seed):
    f = np.random.default_rng(seed).normal(0, 3, (2, bits * 2 * half))
    slow = np.empty((2, bits))
    for i in range(2):
        for b in range(bits):
            block = f[i, b * 2 * half : (b + 1) * 2 * half]
            first = np.exp(block[:half]).sum() / np.exp(block).sum()  # the mass of the first half
            slow[i, b] = np.log(first / (1 - first))
    np.testing.assert_allclose(MassHead(bits, 2 * half)(torch.tensor(f)).numpy(), slow, atol=1e-9)


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


def test_every_name_in_the_config_has_its_class():
    assert set(HEADS) == set(CHOICES["head"])
    assert set(OBJECTIVES) == set(CHOICES["objective"])


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


def test_encoding_in_batches_changes_nothing(monkeypatch):
    model = DCBH(SMALL, 2)
    whole = model.describe(images(7))
    monkeypatch.setattr("dcbh_core.model.ENCODE_BATCH", 3)
    np.testing.assert_allclose(model.describe(images(7)), whole, rtol=1e-5, atol=1e-6)


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


def test_statistics_are_one_scalar_mean_and_deviation():
    model = DCBH(SMALL, 2)
    model.set_statistics(torch.as_tensor(images(5)))
    assert model.mean.item() == pytest.approx(images(5).mean(), rel=1e-6)
    assert model.deviation.item() == pytest.approx(images(5).std(), rel=1e-6)
    expected = np.clip((images(5) - images(5).mean()) / (images(5).std() + 1e-5) * 0.1, -1, 1)
    np.testing.assert_allclose(model.standardize(torch.as_tensor(images(5))).numpy(), expected, atol=1e-6)


def test_standardised_faces_are_clipped():
    model = DCBH(SMALL, 2)
    model.mean.fill_(0)
    model.deviation.fill_(1)
    assert model.standardize(torch.full((1, 3, 32, 32), 255)).max() == 1


def trained_looking_model() -> DCBH:
    torch.manual_seed(1)
    model = DCBH(SMALL, 3)
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


def test_a_saved_model_carries_a_card(tmp_path):
    trained_looking_model().save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "5-bit" in card
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
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        DCBH.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": {"bitz": 3}, "num_identities": 2}'])
def test_loading_names_a_foreign_config(tmp_path, text):
    trained_looking_model().save(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is no description"):
        DCBH.load(tmp_path)


def test_loading_refuses_weights_of_another_model(tmp_path):
    trained_looking_model().save(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about["config"]["seed"] = 9
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="another model"):
        DCBH.load(tmp_path)
