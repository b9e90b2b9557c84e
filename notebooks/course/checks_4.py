"""Checks of notebook 4: train."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from dcbh_core import DCBH, Config

from . import Verdict


def check_1(answer: Callable[[int, int, float], int]) -> Iterator[Verdict]:
    model = DCBH(Config(bits=48), 2)
    expected = sum(p.numel() for name, p in model.named_parameters() if name.startswith("descriptor"))
    found = answer(48, 6, 1.0)
    forgotten = {expected - 288: "one number for each output", expected - 3 * 288: "biases, scales and shifts"}
    hint = f"; you seem to have left out {forgotten[found]}" if found in forgotten else ""
    yield found == expected, f"the paper's 48 bits, blocks of 6 and width 1, as PyTorch counts them{hint}"
    yield answer(12, 3, 1.0) == 12 * 3 * (768 + 3), "shorter codes of smaller blocks"
    yield (
        answer(48, 6, 0.25) == 288 * (192 + 3),
        "a quarter of the channels: narrower scales, as many outputs",
    )


def check_2(answer: Callable[[int, int, int], float]) -> Iterator[Verdict]:
    factors = [float(answer(step, 100, 10)) for step in range(100)]
    yield math.isclose(factors[9], 1), f"step 9 of 10 warm-up steps has the full rate: {factors[9]:.3f}"
    yield math.isclose(factors[0], 0.1), f"the first step has a tenth of it, not nothing: {factors[0]:.3f}"
    yield (
        all(math.isclose(factors[step], factors[0] * (step + 1)) for step in range(10)),
        "the warm-up rises in equal parts",
    )
    yield math.isclose(factors[10], 1), f"the cosine starts at the full rate: {factors[10]:.3f} at step 10"
    yield math.isclose(factors[55], 0.5), f"half-way down the cosine the factor is a half: {factors[55]:.3f} at step 55"
    yield 0 < factors[99] < 0.01, f"the last step is small, but not nothing: {factors[99]:.4f}"
