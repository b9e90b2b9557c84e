"""What a benchmark's row says is what was measured."""

import pytest

from benchmarks import retrieval


def test_an_evaluation_is_measured_on_the_device_that_its_row_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("dcbh_core.hamming.resolved_device", lambda device: asked.append(device) or "cpu")
    row = retrieval._evaluation(3, 600, 1)
    assert row.name == f"evaluation, 3 queries in 600, on {retrieval.resolved_device('auto')}"
    assert set(asked) == {"auto"}
