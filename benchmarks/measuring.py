"""Timing: the work and its baseline by turns in one run, so that what disturbs the one disturbs the other."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
        name: What was measured.
        unit: Of all its numbers; "s" means less is better, everything else is a rate.
        values: One for each repeat.
        baseline: The ordinary way of doing the same, measured in the same repeats.
        baseline_is: What that was.
        limit: What the machine could do at most, in the unit.
        limit_is: What that was reckoned from.
    """

    name: str
    unit: str
    values: list[float]
    baseline: list[float] = dataclasses.field(default_factory=list)
    baseline_is: str = ""
    limit: float | None = None
    limit_is: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster than the baseline: the median over repeats."""
        pairs = zip(self.values, self.baseline, strict=False)
        ratios = [base / value if self.unit == "s" else value / base for value, base in pairs]
        return statistics.median(ratios) if ratios else None

    @property
    def share(self) -> float | None:
        """Of the machine's limit."""
        return None if self.limit is None else statistics.median(self.values) / self.limit


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, until the device has done all of it."""
    _synchronize()
    started = time.perf_counter()
    work()
    _synchronize()
    return time.perf_counter() - started


def by_turns(repeats: int, *works: Callable[[], object]) -> list[list[float]]:
    """Seconds of each work in each repeat; the first, in which caches fill and kernels are chosen, is thrown away."""
    rounds = [[seconds(work) for work in works] for _ in range(repeats + 1)][1:]
    return [list(times) for times in zip(*rounds, strict=True)]


def rates(amount: float, times: list[float]) -> list[float]:
    return [amount / value for value in times]


def matrix_throughput(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square matrix product: the best of several. For float32 on CUDA
    with TF32, which is what convolutions use there unless told otherwise."""
    torch.backends.cuda.matmul.allow_tf32 = True
    n = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    fastest = min(by_turns(8, lambda: left @ right)[0])
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2 * n**3 / fastest


def memory_bandwidth() -> float:
    """Bytes per second that the CPU's cores read together: the best of several sums over 1 GiB."""
    words = torch.ones(2**27, dtype=torch.int64)
    return words.numel() * 8 / min(by_turns(5, words.sum)[0])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
