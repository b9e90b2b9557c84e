"""What a benchmark's row says is what was measured."""

import pytest
import torch

from benchmarks import retrieval


def test_an_evaluation_is_measured_on_the_device_that_its_row_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert retrieval._evaluation(3, 600, "cpu", 1).name == "evaluation, 3 queries in 600, on cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device 'cuda' was asked for"):
        retrieval._evaluation(3, 600, "cuda", 1)
