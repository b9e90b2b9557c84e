"""What one run costs beyond its training: seconds of papermill and of the runner over plain Python.

    python -m benchmarks.cell_overhead [--repeats N]

Times, on one small run (ORL, 0.05 of the paper's channels, 5 epochs, CPU, one thread), the medians of: a plain Python
process that trains, measures and writes the run directory; papermill on the training notebook in a process of its own,
as the runner starts it; and a batch of one run. Beyond plain Python, papermill also starts a kernel and draws the
notebook's three pictures; the batch also starts its own process and hashes sources and faces, once for all of its runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ablations.execution import execute
from ablations.identity import TRAINING_NOTEBOOK, notebook
from dcbh_core import Config

from .measuring import seconds

CONFIG = Config(dataset="orl", width=0.05, bits=12, epochs=5, device="cpu", dtype="float32")
PLAIN = """
import json, sys, time
from ablations.run_directory import measure, write_run
from dcbh_core import Config, load_split, train
config = Config.from_dict(json.loads(sys.argv[1]))
split = load_split(config)
started = time.perf_counter()
model, history = train(config, split.training)
seconds = time.perf_counter() - started
write_run(sys.argv[2], config, model, history, measure(model, split), {"train_s": seconds})
"""


def plain(out: Path) -> float:
    """Seconds of a plain Python process."""
    command = [sys.executable, "-c", PLAIN, json.dumps(CONFIG.to_dict()), str(out / "run")]
    return seconds(lambda: subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}))


def papermill(out: Path) -> float:
    """Seconds of papermill on the training notebook."""
    parameters = {**CONFIG.to_dict(), "run_dir": str(out / "run")}
    return seconds(lambda: execute(notebook(TRAINING_NOTEBOOK), out / "notebook.ipynb", parameters))


def batch(out: Path) -> tuple[float, float]:
    """Seconds of ``python -m ablations run`` on a suite of one run: in all, and of the run."""
    base = {field: value for field, value in CONFIG.to_dict().items() if value is not None}
    suite = {"title": "One run", "about": "Its overhead", "base": base, "variants": {"full": {}}}
    (out / "one.yaml").write_text(json.dumps(suite))
    command = [sys.executable, "-m", "ablations", "run", str(out / "one.yaml"), "--out", str(out / "runs")]
    whole = seconds(lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))
    [run] = (out / "runs" / "complete").glob("*/run.json")
    return whole, json.loads(run.read_text())["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of papermill and runner per run, over plain Python.")
    parser.add_argument("--repeats", type=int, default=5)
    times: dict[str, list[float]] = {"plain Python": [], "papermill": [], "run in a batch": [], "batch of one": []}
    for _ in range(parser.parse_args().repeats):
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory)
            times["plain Python"].append(plain(out))
            times["papermill"].append(papermill(out))
            whole, run = batch(out)
            times["run in a batch"].append(run)
            times["batch of one"].append(whole)
    reference = statistics.median(times["plain Python"])
    print(f"{'':16} {'median':>8} {'min':>8} {'max':>8} {'over plain':>11}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:16} {median:8.2f} {min(values):8.2f} {max(values):8.2f} {median - reference:11.2f}")


if __name__ == "__main__":
    main()
