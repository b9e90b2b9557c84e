"""Checks of notebook 2: the block hashing layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from dcbh_core.model import STAGES

from . import Verdict, close, ended, is_number


def check_1(answer: Any) -> Iterator[Verdict]:
    """The block layer: answer(f (n, bits * block_size), block_size) -> q (n, bits)."""
    f = np.random.default_rng(0).normal(0, 2, (5, 24)).clip(0)
    got = np.asarray(answer(f.copy(), 6))
    hint = ""
    if got.shape != (5, 4):
        hint = {
            f.shape: ": one number is asked for each bit, not for each entry",
            (4, 5): ": rows are descriptors, columns are bits",
            (5,): ": one number is asked for each bit, not for each descriptor",
            (5, 6): ": each block of 6 entries becomes one number; how many blocks are there?",
        }.get(got.shape, ": one row for each descriptor, one column for each block")
    yield got.shape == (5, 4), ended(f"5 descriptors of 24 entries, blocks of 6: you give shape {got.shape}{hint}")
    yield got.dtype.kind == "f", f"The relaxed code is made of floating-point numbers: you give {got.dtype}."
    for block, who, why in (
        (np.full(6, 2.0), "A flat block, all entries equal", "what is the share of each of six?"),
        (np.array([0, 0, 9, 0, 0, 0.0]), "A block with one entry far ahead", "that one has a share of nearly 1"),
    ):
        right, value = _block_layer(block[None], 6)[0, 0], np.asarray(answer(block[None].copy(), 6))[0, 0]
        hint = "" if close(value, right) else _mistake(block[None], np.array([[value]])) or why
        yield close(value, right), ended(f"{who}: your q is {value:.6f}{hint and ': ' + hint}")
    right = _block_layer(f, 6)
    hint = ""
    if not close(got, right):
        row, bit = (int(i) for i in np.argwhere(~np.isclose(got, right, atol=1e-5))[0])
        entries = ", ".join(f"{entry:.3f}" for entry in f[row, 6 * bit : 6 * bit + 6])
        hint = _mistake(f, got) or f"block {bit} of descriptor {row}, ({entries}), gives {got[row, bit]:.4f}"
    yield close(got, right), ended(f"The values of q for these descriptors{hint and ': ' + hint}")
    f = np.random.default_rng(1).normal(0, 2, (3, 36)).clip(0)
    right, got = _block_layer(f, 3), np.asarray(answer(f.copy(), 3))
    hint = "" if close(got, right) else f": you give shape {got.shape}; is there a 6 or a 4 in your code?"
    yield close(got, right), ended(f"Another size: 12 blocks of 3{hint}")
    with np.errstate(all="ignore"):
        right, got = _block_layer(1000 * f, 3), np.asarray(answer(1000 * f, 3))
    hint = ""
    if not close(got, right):
        finite = np.isfinite(got).all()
        each = "each block's own largest entry"
        hint = f": of one block all exponentials are 0; subtract {each}" if finite else f": subtract {each} first"
    yield close(got, right), ended(f"Very large entries, in the thousands{hint}")


def _mistake(f: np.ndarray, got: np.ndarray) -> str:
    """Why a layer with blocks of 6 gives ``got`` for descriptors f; empty if nobody knows."""
    with np.errstate(all="ignore"):
        return next((why for why, wrong in _MISTAKES.items() if close(got, wrong(f))), "")


def _softmax(blocks: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    exponentials = np.exp(blocks - blocks.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


def _block_layer(f: np.ndarray, block_size: int) -> np.ndarray:
    return np.tanh(_softmax(f.reshape(len(f), -1, block_size), 2).max(2) - 0.5)


# What goes wrong with blocks of 6: sentence -> the wrong layer.
_MISTAKES = {
    "the tanh is missing": lambda f: np.arctanh(_block_layer(f, 6)),
    "the half is not taken away": lambda f: np.tanh(_softmax(f.reshape(len(f), -1, 6), 2).max(2)),
    "neither half nor tanh": lambda f: _softmax(f.reshape(len(f), -1, 6), 2).max(2),
    "the half is taken away after the tanh, not before": lambda f: (
        np.tanh(_softmax(f.reshape(len(f), -1, 6), 2).max(2)) - 0.5
    ),
    "these are the bits; the relaxed code is the number before the question whether it is 0 or more": lambda f: (
        _block_layer(f, 6) >= 0
    ),
    "the shares of each block have to add up to 1, not those of the descriptor or the batch": lambda f: np.tanh(
        _softmax(f.reshape(len(f), -1, 6), (1, 2)).max(2) - 0.5
    ),
    "a block is made of neighbours; here its entries lie far apart": lambda f: np.tanh(
        _softmax(f.reshape(len(f), 6, -1), 1).max(1) - 0.5
    ),
    "a softmax takes the exponential of each entry before it divides by the sum": lambda f: np.tanh(
        np.nan_to_num(_shares(f.reshape(len(f), -1, 6)).max(2)) - 0.5
    ),
    "the softmax is missing": lambda f: np.tanh(f.reshape(len(f), -1, 6).max(2) - 0.5),
    "this is the smallest share of the block": lambda f: np.tanh(_softmax(f.reshape(len(f), -1, 6), 2).min(2) - 0.5),
    "this is the place of the largest entry, not its share": lambda f: f.reshape(len(f), -1, 6).argmax(2),
}


def _shares(blocks: np.ndarray) -> np.ndarray:
    return blocks / blocks.sum(2, keepdims=True)


def check_2(answer: Any) -> Iterator[Verdict]:
    """The smallest lead that turns a bit on: answer(block_size) -> lead."""
    for size in (3, 6, 12, 100):
        x = float(answer(size))
        share = 1 / (1 + (size - 1) * math.exp(-x))
        right = abs(share - 0.5) < 1e-3
        if right:
            hint = ""
        elif close(x, size - 1):
            hint = " (so much larger must its exponential be; and the entry itself?)"
        elif close(x, math.log(size)):
            hint = " (how many others are there?)"
        else:
            hint = ": enough, but less would do" if share > 0.5 else ": not enough"
        yield right, f"In a block of {size} a lead of {x:.4g} gives the one entry a share of {share:.4f}{hint}."
    x = float(answer(2))
    yield abs(x) < 2e-3, f"In a block of 2 no lead is needed, as one of two shares is always a half: you give {x:.4g}."


def check_3(answer: Any) -> Iterator[Verdict]:
    """The share of the multiply-adds that a fully connected head would take."""
    yield is_number(answer), f"The answer is one number, here of type {type(answer).__name__.lstrip('_')}."
    share = float(answer)
    yield 0 < share < 1, f"A share lies between 0 and 1: {share:g}."
    pixels, channels, convolutions, weights, without_halving, halved_too_early = 32 * 32, 3, 0, 0, 0, 0
    for stage in STAGES:
        for wanted in stage:
            product = 9 * channels * wanted
            convolutions += product * pixels
            weights += product
            without_halving += product * 32 * 32
            halved_too_early += product * pixels // 4
            channels = wanted
        pixels //= 4
    descriptor, head = 768 * 288, 288 * 48
    right = head / (convolutions + descriptor + head)
    hints = {
        head
        / (weights + descriptor + head): "this counts each weight once; a convolution uses its weights in every pixel",
        head / (without_halving + descriptor + head): "in the later stages the picture is smaller",
        100 * right: "this is in per cent; a share is asked for",
        head / (descriptor + head): "and the convolutions?",
        1 - right: "this is the share of everything else",
        descriptor / (convolutions + descriptor + head): "this is the share of the layer to the descriptor",
        head / (halved_too_early + descriptor + head): "a stage halves the picture at its end, after its convolutions",
    }
    hint = next((why for wrong, why in hints.items() if math.isclose(share, wrong, rel_tol=0.05)), "")
    if not hint:
        hint = "too large" if share > right else "too small"
    good = math.isclose(share, right, rel_tol=0.05)
    yield (
        good,
        f"The head's share is {share:.3g}, one multiply-add in {1 / share:,.0f}" + ("." if good else f": {hint}"),
    )
