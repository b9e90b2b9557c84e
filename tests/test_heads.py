"""Every hashing head against its formula, written out as slow loops in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Config
from dcbh_core.heads import HEADS, BlockHead, DirectHead, DivideEncodeHead, FCHead, SoftBlockHead

SEEDS = st.integers(0, 2**32 - 1)


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


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_block_of_two_would_always_give_a_one(seed):
    f = np.random.default_rng(seed).normal(0, 3, (100, 8))
    assert (BlockHead(4, 2)(torch.tensor(f)) >= 0).all()


@pytest.mark.parametrize(
    ("head", "block_size", "message"),
    [
        ("block", 2, "block_size must be at least 3, not 2: .* every bit would be 1"),
        ("soft_block", 0, "block_size must be even for soft blocks, which compare halves, not 0"),
        ("soft_block", 3, "block_size must be even for soft blocks, which compare halves, not 3"),
        ("fc", 0, "block_size must be at least 1, not 0"),
        ("divide_encode", 0, "block_size must be at least 1, not 0"),
    ],
)
def test_a_block_size_that_a_head_cannot_work_with_is_refused(head, block_size, message):
    with pytest.raises(ValueError, match=message):
        Config(head=head, block_size=block_size)


@pytest.mark.parametrize(("head", "least"), [("block", 3), ("soft_block", 2), ("fc", 1), ("divide_encode", 1)])
def test_the_least_block_size_works(head, least):
    HEADS[head].check(least)
    z = HEADS[head](5, least)(torch.randn(4, 5 * least))
    assert z.shape == (4, 5)
    assert z.isfinite().all()


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
def test_soft_block_head_equals_a_slow_loop(bits, half, seed):
    f = np.random.default_rng(seed).normal(0, 3, (2, bits * 2 * half))
    slow = np.empty((2, bits))
    for i in range(2):
        for b in range(bits):
            block = f[i, b * 2 * half : (b + 1) * 2 * half]
            first = np.exp(block[:half]).sum() / np.exp(block).sum()  # the mass of the first half
            slow[i, b] = np.log(first / (1 - first))
    np.testing.assert_allclose(SoftBlockHead(bits, 2 * half)(torch.tensor(f)).numpy(), slow, atol=1e-9)


@given(st.integers(1, 12), st.integers(1, 4), SEEDS)
@settings(max_examples=50, deadline=None)
def test_a_soft_bit_asks_which_half_has_more_mass_so_swapping_them_flips_it(bits, half, seed):
    f = torch.tensor(np.random.default_rng(seed).normal(0, 3, (2, bits, 2, half)))
    head = SoftBlockHead(bits, 2 * half)
    torch.testing.assert_close(head(f.flip(2).flatten(1)), -head(f.flatten(1)))


@pytest.mark.parametrize("head", [BlockHead(4, 6), SoftBlockHead(4, 6)], ids=["block", "soft_block"])
def test_only_differences_within_a_block_count(head):
    f = torch.tensor(np.random.default_rng(0).normal(size=(2, 4, 6)))
    shift = torch.tensor(np.random.default_rng(1).normal(0, 100, (2, 4, 1)))
    torch.testing.assert_close(head((f + shift).flatten(1)), head(f.flatten(1)))


@pytest.mark.parametrize("head", [BlockHead, SoftBlockHead])
def test_paper_and_soft_blocks_have_no_weights(head):
    assert not list(head(4, 6).parameters())


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_a_soft_bit_is_finite_and_has_a_gradient_at_any_size_of_the_descriptor(extreme):
    f = torch.zeros(1, 6)
    f[0, 0] = extreme
    f.requires_grad_(True)
    z = SoftBlockHead(1, 6)(f)
    z.sum().backward()
    assert z.isfinite().all()
    assert f.grad is not None and f.grad.isfinite().all() and f.grad.any()


def test_fully_connected_hashing_is_one_linear_layer():
    head = FCHead(4, 3).double()
    f = torch.randn(2, 12, dtype=torch.float64)
    for i in range(2):
        for b in range(4):
            number = sum(f[i, j] * head.linear.weight[b, j] for j in range(12)) + head.linear.bias[b]
            torch.testing.assert_close(head(f)[i, b], number)


def test_the_direct_head_is_a_linear_layer_and_batch_normalisation():
    head = DirectHead(4, 7).double().train()
    f = torch.randn(9, 7, dtype=torch.float64)
    linear = f @ head.linear.weight.T + head.linear.bias
    expected = (linear - linear.mean(0)) / (linear.var(0, correction=0) + 1e-3).sqrt()
    torch.testing.assert_close(head(f), expected)
