"""What runs leave beside their metrics, made up: codes of a few people, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ablations.details import Details
from ablations.suite import Suite
from tests.stub_suite import made_up

PEOPLE, GALLERY, QUERIES = 4, 5, 3  # people, and photographs of each
HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "code": [3.0, 2.0, 1.0], "total": [4.0, 2.5, 1.5]})


def made_details(seed: int = 0, noise: float = 0.1, bits: int = 12, unseen: bool = False) -> Details:
    """Each person has a random code; a photograph's code differs from it in each bit with probability ``noise``."""
    rng = np.random.default_rng(seed)
    codes, labels, names = {}, {}, {}
    for prefix in ("", "new_") if unseen else ("",):
        centers = rng.random((PEOPLE, bits)) < 0.5
        for part, each in (("gallery", GALLERY), ("queries", QUERIES)):
            labels[prefix + part] = np.repeat(np.arange(PEOPLE), each)
            own = centers[labels[prefix + part]]
            codes[prefix + part] = own ^ (rng.random(own.shape) < noise)
        names[f"{prefix}queries"] = [f"{prefix}$Ann_{i}$" for i in range(PEOPLE)]
    history = HISTORY.assign(total=HISTORY["total"] + seed)
    return Details({"bits": bits}, {"images_per_s": 100.0 + seed}, 1234 + bits, history, codes, labels, names)


def made_runs(suite: Suite, seeds: list[int], unseen: bool = False) -> tuple[pd.DataFrame, list[Details | None]]:
    """A frame of runs and what each has left; the first variant is the least noisy."""
    runs = made_up(suite, seeds).assign(faces="the faces")
    noise = {variant: 0.05 + 0.15 * number for number, variant in enumerate(suite.variants)}
    details: list[Details | None] = [
        made_details(row["seed"], noise[row["variant"]], row["bits"], unseen) for row in runs.to_dict("records")
    ]
    return runs, details


def leave(directory: Path, details: Details) -> None:
    """Put what a run has left into its directory, as a training does."""
    arrays: dict[str, np.ndarray] = {}
    for part, codes in details.codes.items():
        arrays |= {f"{part}_codes": codes, f"{part}_labels": details.labels[part]}
        if part in details.names:
            arrays[f"{part}_names"] = np.array(details.names[part])
    np.savez(directory / "evaluation.npz", **arrays)  # type: ignore[arg-type]
    assert details.history is not None
    details.history.to_csv(directory / "history.csv", index=False)
    (directory / "model").mkdir(exist_ok=True)
    (directory / "model/README.md").write_text(f"- Method: recipe `modern`, {details.parameters:,} parameters\n")
